"""A whole plan sent from one process: what came back, and how busy that kept the client."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any

from ...workloads.api import Plan
from ..machine.open_files import raise_open_files
from ..run.collection import without_collection
from ..run.drive import Progress
from ..run.record import RequestRecord
from .addresses import Address
from .bodies import Bodies
from .config import ClientConfig
from .drive import Client
from .load import Busyness


@dataclass(frozen=True)
class Sent:
    """What one process sent and saw.

    records: of the requests that were sent, in order of index. origin_s: where their times count
    from, on CLOCK_MONOTONIC. failure: what ended it early, in one line; empty if the plan was done
    or the user ended it.
    """

    records: tuple[RequestRecord, ...]
    duration_s: float
    busy: Busyness
    connections: int
    origin_s: float
    interrupted: bool = False
    failure: str = ""


async def send(
    config: ClientConfig,
    plan: Plan,
    bodies: Bodies,
    *,
    addresses: Sequence[Address],
    begin: Callable[[], float],
    on_progress: Callable[[Progress], None] = lambda _: None,
    on_client: Callable[[Client], None] = lambda _: None,
) -> Sent:
    """Send a plan.

    addresses: of the server, as `resolve` found them. begin: says from when on times count, on
    CLOCK_MONOTONIC; asked when nothing is left to do that would make the first request late.
    on_client: is handed the client, to stop it by.
    """
    raise_open_files()
    records: list[RequestRecord] = []
    while bodies.prepare():
        pass
    with without_collection():
        origin_s = begin()
        client = Client(
            config,
            plan,
            bodies,
            addresses=addresses,
            origin_s=origin_s,
            on_record=records.append,
            on_progress=on_progress,
        )
        on_client(client)
        _stop_where_broken(client)
        busy = await client.run()
    records.sort(key=lambda record: record.index)
    return Sent(
        tuple(records),
        monotonic() - origin_s,
        busy,
        client.connections,
        origin_s,
        client.interrupted,
        client.failure,
    )


def _stop_where_broken(client: Client) -> None:
    """A callback that raised is not called again, and it may be the one that looks for timeouts."""

    def broken(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        loop.default_exception_handler(context)
        if "handle" in context:
            error = " ".join(str(context.get("exception")).split())
            client.stop(f"the client itself failed: {error}")

    asyncio.get_running_loop().set_exception_handler(broken)
