"""What happens before the clock of a run begins."""

from __future__ import annotations

import asyncio
import gc
import time

from llmbench.harness.client.addresses import resolve
from llmbench.harness.client.bodies import Bodies, fixed_fields
from llmbench.harness.client.config import ClientConfig, parse_url
from llmbench.harness.client.send import send
from llmbench.harness.client.servers import SERVERS
from llmbench.harness.mock.server import MockServer

from ..mock.in_thread import in_thread
from .sending import plan_of, script_of


def test_nothing_that_takes_long_is_left_when_times_begin_to_count() -> None:
    """Bodies are encoded and garbage is collected before: both made the first request late."""
    begun: list[tuple[bool, bool]] = []
    plan = plan_of(5)
    with in_thread(MockServer(lambda _body, _name: script_of((1, 1, 1)))) as url:
        config = ClientConfig(parse_url(url))
        bodies = Bodies(
            config, SERVERS["mock"], fixed_fields(config, SERVERS["mock"], "m", ""), plan, ""
        )

        def begin() -> float:
            begun.append((gc.isenabled(), bodies.prepare()))
            return time.monotonic()

        sent = asyncio.run(send(config, plan, bodies, addresses=resolve(config), begin=begin))
    assert begun == [(False, False)]
    assert gc.isenabled()
    assert len(sent.records) == 5
