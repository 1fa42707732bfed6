"""The mock server in a process of its own, beside the code that talks to it."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection

from ..client.direct_http import fetch
from .log import Sent
from .rule import Rule
from .server import MockServer

START_WITHIN_S = 30.0


@contextmanager
def in_process(rule: Rule, cores: Sequence[int] | None = None) -> Iterator[str]:
    """Its base URL while it serves in a process of its own, on these cores if given."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    child = context.Process(target=_serve, args=(rule, cores, theirs), daemon=True)
    child.start()
    theirs.close()
    try:
        if not ours.poll(START_WITHIN_S):
            raise RuntimeError(f"the mock server did not start in {START_WITHIN_S:g} s")
        yield f"http://127.0.0.1:{ours.recv()}"
    finally:
        child.terminate()
        child.join()
        ours.close()


def take_log(base_url: str) -> list[Sent]:
    """What a server has sent since it was last asked. Raises RuntimeError if that is not all."""
    log = fetch(f"{base_url}/mock/log", timeout_s=60, method="DELETE", most_bytes=None)
    told = json.loads(log.body)
    if told["dropped"]:
        raise RuntimeError(f"the mock server's log has lost {told['dropped']} requests")
    return [Sent.from_json(one) for one in told["sent"]]


def _serve(rule: Rule, cores: Sequence[int] | None, parent: Connection) -> None:
    # Ctrl-C reaches every process of the terminal; whoever began this one ends it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if cores is not None:
        os.sched_setaffinity(0, cores)

    async def main() -> None:
        parent.send(await MockServer(rule.script).start())
        await asyncio.get_running_loop().create_future()

    asyncio.run(main())
