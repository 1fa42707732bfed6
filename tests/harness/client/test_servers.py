"""What each server can be told."""

from __future__ import annotations

import json
from typing import Any

import pytest
from llmbench.harness.client.bodies import Bodies, fixed_fields
from llmbench.harness.client.config import ClientConfig, Url
from llmbench.harness.client.servers import SERVERS

from .sending import plan_of


def sent_to(server: str, **told: Any) -> list[dict[str, Any]]:
    """The bodies of two requests."""
    config, plan = ClientConfig(Url("box", 80), prompt_as="text", **told), plan_of(2)
    fixed = fixed_fields(config, SERVERS[server], "model", "salt")
    bodies = Bodies(config, SERVERS[server], fixed, plan, "salt")
    return [json.loads(bodies.of(one)) for one in plan.requests]


@pytest.mark.parametrize(
    ("server", "endpoint", "salted"),
    [
        ("vllm", "completions", True),
        ("sglang", "chat", True),
        ("llmbench", "completions", True),
        ("llmbench", "chat", True),
        # Where it completes prompts it refuses the field.
        ("tensorrt-llm", "completions", False),
        ("tensorrt-llm", "chat", True),
        ("openai", "chat", False),
    ],
)
def test_a_salt_is_sent_where_the_server_takes_one(
    server: str, endpoint: str, salted: bool
) -> None:
    of_run = [body.get("cache_salt") for body in sent_to(server, endpoint=endpoint)]
    of_each = [
        body.get("cache_salt") for body in sent_to(server, endpoint=endpoint, prefix_cache="off")
    ]
    assert of_run == (["salt", "salt"] if salted else [None, None])
    assert of_each == (["salt-0", "salt-1"] if salted else [None, None])
    assert SERVERS[server].forgets(endpoint) is salted
    (left, _) = sent_to(server, endpoint=endpoint, prefix_cache="server")
    assert "cache_salt" not in left


def test_who_takes_no_salt_may_be_told_to_look_nothing_up() -> None:
    assert SERVERS["llama.cpp"].forgets("completions")
    assert sent_to("llama.cpp")[0]["cache_prompt"] is False
