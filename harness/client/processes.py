"""One plan sent by several processes, for when one event loop is not enough.

Each has a share of the requests, and of the slots of a closed loop, and its own loop; all of them
count time from one moment of CLOCK_MONOTONIC, which a machine's processes share. Turns of a session
stay together. With slots of its own, a process cannot lend an idle one to another: a closed loop of
few slots is a little less even than in one process.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from typing import Any, cast

from ...workloads.api import Plan
from ..errors import InvalidRun
from ..run.drive import Progress
from . import precise
from .addresses import Address
from .bodies import Bodies
from .config import ClientConfig
from .drive import Client
from .load import Busyness
from .send import Sent, send
from .servers import Server

START_WITHIN_S = 60.0
# From the moment that all are told to begin to the moment that times count from.
HEAD_START_S = 0.05


@dataclass(frozen=True)
class Job:
    """What is sent, and how. fixed: the fields that all requests have alike. salt: of this run, or
    of its warm-up, alone: no server sees two requests of one name. addresses: of the server, as
    `resolve` found them, the same for all processes."""

    config: ClientConfig
    server: Server
    fixed: Mapping[str, Any]
    salt: str
    plan: Plan
    addresses: tuple[Address, ...]

    def bodies(self) -> Bodies:
        return Bodies(self.config, self.server, self.fixed, self.plan, self.salt)


@dataclass(frozen=True)
class SentByAll:
    """What all processes sent and saw: see `Sent`. busy: one for each."""

    sent: Sent
    busy: tuple[Busyness, ...]


def split(plan: Plan, processes: int) -> tuple[Plan, ...]:
    """A share of the plan for each process; fewer, where there are not so many requests or slots.

    Requests are dealt out in turn, so that each share is spread over the whole run.
    """
    count = min(processes, len(plan.requests), plan.max_concurrency or processes)
    if count <= 1:
        return (plan,)
    place: dict[int, int] = {}
    roots = 0
    for one in plan.requests:
        if one.after is None:
            place[one.index] = roots % count
            roots += 1
        else:
            place[one.index] = place[one.after]
    shares = []
    for process in range(count):
        slots = plan.max_concurrency
        if slots is not None:
            slots = slots // count + (process < slots % count)
        requests = tuple(one for one in plan.requests if place[one.index] == process)
        shares.append(replace(plan, requests=requests, max_concurrency=slots))
    return tuple(share for share in shares if share.requests)


def send_job(job: Job, on_progress: Callable[[Progress], None]) -> SentByAll:
    """Send it from as many processes as it asks for. Ctrl-C ends it early; what was measured is
    kept."""
    shares = split(job.plan, job.config.processes)
    if len(shares) == 1:
        sent = precise.run(_send_here(job, on_progress))
        return SentByAll(sent, (sent.busy,))
    jobs = [replace(job, plan=share) for share in shares]
    return _merged(_send_apart(jobs, on_progress))


async def _send_here(job: Job, on_progress: Callable[[Progress], None]) -> Sent:
    loop = asyncio.get_running_loop()

    # Only the main thread hears signals.
    hears = threading.current_thread() is threading.main_thread()

    def on_client(client: Client) -> None:
        if hears:
            loop.add_signal_handler(signal.SIGINT, client.stop)

    try:
        return await send(
            job.config,
            job.plan,
            job.bodies(),
            addresses=job.addresses,
            begin=lambda: time.monotonic() + HEAD_START_S,
            on_progress=on_progress,
            on_client=on_client,
        )
    finally:
        if hears:
            loop.remove_signal_handler(signal.SIGINT)


def _send_apart(jobs: Sequence[Job], on_progress: Callable[[Progress], None]) -> list[Sent]:
    context = multiprocessing.get_context("spawn")
    pipes: list[Connection] = []
    children = []
    for job in jobs:
        ours, theirs = multiprocessing.Pipe()
        child = context.Process(target=_child, args=(job, theirs), daemon=True)
        child.start()
        theirs.close()
        pipes.append(cast("Connection", ours))
        children.append(child)
    try:
        for pipe in pipes:
            if not pipe.poll(START_WITHIN_S):
                raise InvalidRun(f"a process of the client did not start in {START_WITHIN_S:g} s")
            try:
                pipe.recv()
            except EOFError as error:
                raise InvalidRun("a process of the client died as it started") from error
        origin_s = time.monotonic() + HEAD_START_S
        for pipe in pipes:
            pipe.send(origin_s)
        return collected(pipes, on_progress, jobs[0].config.max_errors)
    finally:
        for pipe in pipes:
            pipe.close()
        for child in children:
            child.join(5)
            child.terminate()
            child.join()


def collected(
    pipes: Sequence[Connection], on_progress: Callable[[Progress], None], max_errors: int
) -> list[Sent]:
    """What each child sent. The first to stop early, Ctrl-C, or max_errors failed requests of all
    together (0: any number), stop all of them. Raises InvalidRun where all of them died."""
    found: list[Sent] = []
    told: dict[Connection, Progress] = {}
    waiting, lost, failure = list(pipes), 0, ""
    while waiting:
        try:
            for ready in wait(waiting, timeout=0.2):
                assert isinstance(ready, Connection)
                try:
                    message = ready.recv()
                except (EOFError, OSError):
                    # Killed, by want of memory for one: what the others measured is kept.
                    waiting.remove(ready)
                    lost += 1
                    failure = f"{lost} of {len(pipes)} processes of the client died"
                    _stop(waiting)
                    continue
                if isinstance(message, Progress):
                    told[ready] = message
                    together = _together(tuple(told.values()))
                    on_progress(together)
                    if 0 < max_errors <= together.failed and not failure:
                        failure = f"stopped after {together.failed} failed requests"
                        _stop(waiting)
                    continue
                found.append(message)
                waiting.remove(ready)
                if message.interrupted:
                    _stop(waiting)
        except KeyboardInterrupt:
            _stop(waiting)
    if not found:
        raise InvalidRun("every process of the client died: nothing was measured")
    if failure:
        found = [replace(one, interrupted=True, failure=failure) for one in found]
    return found


def _stop(pipes: Sequence[Connection]) -> None:
    for pipe in pipes:
        # One that has ended hears nothing any more; what it sent before that is still to be read.
        with suppress(OSError):
            pipe.send("stop")


def _together(told: Sequence[Progress]) -> Progress:
    return Progress(
        sum(one.finished for one in told),
        sum(one.total for one in told),
        sum(one.output_tokens for one in told),
        max(one.elapsed_s for one in told),
        sum(one.failed for one in told),
    )


def _merged(found: Sequence[Sent]) -> SentByAll:
    records = sorted(
        (record for one in found for record in one.records), key=lambda record: record.index
    )
    sent = Sent(
        tuple(records),
        max(one.duration_s for one in found),
        found[0].busy,
        sum(one.connections for one in found),
        found[0].origin_s,
        any(one.interrupted for one in found),
        next((one.failure for one in found if one.failure), ""),
    )
    return SentByAll(sent, tuple(one.busy for one in found))


def stop_when_told(parent: Connection, stop: Callable[[], None]) -> None:
    """In a running event loop: once, at the parent's first word or when it is gone."""
    loop = asyncio.get_running_loop()

    def told() -> None:
        loop.remove_reader(parent.fileno())
        stop()

    loop.add_reader(parent.fileno(), told)


def _child(job: Job, parent: Connection) -> None:
    # Ctrl-C reaches every process of the terminal; the parent says when to stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    async def main() -> Sent:
        def begin() -> float:
            parent.send("ready")
            return parent.recv()

        return await send(
            job.config,
            job.plan,
            job.bodies(),
            addresses=job.addresses,
            begin=begin,
            on_progress=parent.send,
            on_client=lambda client: stop_when_told(parent, client.stop),
        )

    sent = precise.run(main())
    with suppress(OSError):
        parent.send(sent)
