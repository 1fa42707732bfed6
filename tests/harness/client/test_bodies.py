"""Requests encoded ahead of time."""

from __future__ import annotations

import json

from llmbench.harness.client.bodies import AHEAD, Bodies
from llmbench.harness.client.config import ClientConfig, Url
from llmbench.harness.client.servers import SERVERS
from llmbench.workloads.api import Plan, PlannedRequest


def test_what_was_sent_before_its_turn_takes_no_room() -> None:
    """At a high rate requests overtake the encoding; those left behind would fill what is kept
    ready, for good."""
    plan = Plan(tuple(PlannedRequest(i, None, (i,), 1) for i in range(3 * AHEAD)), None)
    bodies = Bodies(ClientConfig(Url("box", 80)), SERVERS["mock"], {"model": "m"}, plan, "")
    for planned in plan.requests[:AHEAD]:
        assert json.loads(bodies.of(planned))["prompt"] == [planned.index]
    assert sum(iter(bodies.prepare, False)) == AHEAD
    for planned in plan.requests[AHEAD : 2 * AHEAD]:
        assert json.loads(bodies.of(planned))["prompt"] == [planned.index]
    assert bodies.prepare()
