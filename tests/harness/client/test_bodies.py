"""Requests encoded ahead of time."""

from __future__ import annotations

import json
from typing import Any

import pytest
from llmbench.harness.client.bodies import AHEAD, Bodies, fixed_fields
from llmbench.harness.client.config import ClientConfig, LengthField, Url
from llmbench.harness.client.servers import SERVERS
from llmbench.workloads.api import Plan, PlannedRequest


@pytest.mark.parametrize("name", SERVERS)
def test_who_lets_a_model_end_its_replies_tells_the_server_nothing_of_their_ends(name: str) -> None:
    server = SERVERS[name]
    plan = Plan((PlannedRequest(0, None, (1,), 7),), None)

    def sent(**changes: Any) -> dict[str, Any]:
        config = ClientConfig(Url("box", 80), **changes)
        bodies = Bodies(config, server, fixed_fields(config, server, "m", ""), plan, "")
        return json.loads(bodies.of(plan.requests[0]))

    exact, natural = sent(), sent(output_lengths="at-most")
    assert exact["max_tokens"] == natural["max_tokens"] == 7
    ends = {"ignore_eos", "min_tokens"}
    assert not ends & natural.keys()
    assert {key: value for key, value in exact.items() if key not in ends} == natural
    # Of those that are known, one that can be told is told.
    assert bool(ends & exact.keys()) == (name != "openai")
    assert sent(output_lengths="at-most", extra={"min_tokens": 2})["min_tokens"] == 2


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
def test_a_length_is_said_in_the_field_that_the_server_takes(field: LengthField) -> None:
    config = ClientConfig(Url("box", 80), endpoint="chat", prompt_as="text", length_field=field)
    plan = Plan((PlannedRequest(0, None, (1,), 7),), None)
    sent = json.loads(Bodies(config, SERVERS["vllm"], {"n": 1}, plan, "").of(plan.requests[0]))
    assert {name: value for name, value in sent.items() if name.startswith("max")} == {field: 7}
    assert sent["min_tokens"] == 7


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
