"""A plan sent to the mock server, and both sides' books on it."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llmbench.harness.client import precise
from llmbench.harness.client.addresses import Address, resolve
from llmbench.harness.client.bodies import Bodies, fixed_fields
from llmbench.harness.client.config import ClientConfig, parse_url
from llmbench.harness.client.drive import Client
from llmbench.harness.client.names import name_within_run
from llmbench.harness.client.send import Sent, send
from llmbench.harness.client.servers import SERVERS
from llmbench.harness.mock.log import Sent as Truth
from llmbench.harness.mock.script import Chunk, Script
from llmbench.harness.mock.server import MockServer, Scripted
from llmbench.harness.run.drive import Progress
from llmbench.harness.run.record import RequestRecord
from llmbench.workloads.api import Message, Plan, PlannedRequest

from ..mock.in_thread import in_thread

# A test that hangs is a failure of what is tested here.
MOST_S = 30.0


def plan_of(
    count: int = 1,
    *,
    tokens: int = 8,
    prompt: Sequence[int] = (1, 2, 3),
    due_s: float | None = None,
    concurrency: int | None = None,
) -> Plan:
    """Closed loop, all at once, unless due_s says how far apart requests are due."""
    return Plan(
        tuple(
            PlannedRequest(
                index,
                None if due_s is None else index * due_s,
                tuple(prompt),
                tokens,
                messages=(Message("user", " ".join("w" for _ in prompt)),),
            )
            for index in range(count)
        ),
        concurrency,
    )


def script_of(tokens: Sequence[int], gap_s: float = 0.002, **more: Any) -> Script:
    """Chunks of so many tokens each."""
    return Script(tuple(Chunk(gap_s, held) for held in tokens), **more)


@dataclass
class Exchanged:
    """What the client recorded, what the server truly did, and what it was sent.

    origin_s: what the client's times count from, on the clock of the server's.
    """

    sent: Sent
    truths: dict[str, Truth]
    bodies: list[Mapping[str, Any]]
    connections: int
    origin_s: float

    @property
    def only(self) -> RequestRecord:
        (record,) = self.sent.records
        return record


def exchange(
    scripted: Scripted | Script,
    plan: Plan | None = None,
    *,
    server: str = "mock",
    stop_at_chunks: int | None = None,
    on_progress: Callable[[Progress], None] = lambda _: None,
    tls: ssl.SSLContext | None = None,
    **config: Any,
) -> Exchanged:
    """Send a plan to a mock server that does what `scripted` says. stop_at_chunks: as Ctrl-C, once
    it has sent so many. tls: with which certificate the server answers."""

    def always(_body: Mapping[str, Any], _name: str) -> Script:
        assert isinstance(scripted, Script)
        return scripted

    mock = MockServer(always if isinstance(scripted, Script) else scripted, keep_bodies=True)
    with in_thread(mock, tls) as url:
        told = ClientConfig(parse_url(url), **config)

        def enough() -> bool:
            sent = sum(len(one.chunk_times_s) for one in mock.log)
            return stop_at_chunks is not None and sent >= stop_at_chunks

        sent = send_all(told, plan or plan_of(), server, enough, on_progress)
    truths = {name_within_run(one.request_id): one for one in mock.log}
    return Exchanged(sent, truths, mock.bodies, mock.connections, sent.origin_s)


def send_all(
    config: ClientConfig,
    plan: Plan,
    server: str = "mock",
    enough: Callable[[], bool] = lambda: False,
    on_progress: Callable[[Progress], None] = lambda _: None,
    addresses: Sequence[Address] | None = None,
) -> Sent:
    """addresses: those of the URL's name, unless given."""
    row = SERVERS[server]
    fixed = fixed_fields(config, row, "mock", "salt")

    async def main() -> Sent:
        def stop_later(client: Client) -> None:
            loop = asyncio.get_running_loop()
            if enough():
                # What lies in a socket is read first, however busy the machine is.
                loop.call_later(0.5, client.stop)
            else:
                loop.call_later(0.01, stop_later, client)

        bodies = Bodies(config, row, fixed, plan, "salt")
        async with asyncio.timeout(MOST_S):
            return await send(
                config,
                plan,
                bodies,
                addresses=resolve(config) if addresses is None else addresses,
                begin=lambda: time.monotonic() + 0.01,
                on_progress=on_progress,
                on_client=stop_later,
            )

    return precise.run(main())
