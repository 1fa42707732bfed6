"""In-flight batching: decodes first, contexts in chunks of what is left."""

from __future__ import annotations

import pytest
from llmbench.engines.errors import ConfigError
from llmbench.engines.step import Limits

from ..drive import drive, make_core, make_request


def test_a_new_prompt_joins_the_step_of_a_running_decode() -> None:
    core = make_core("inflight", "reserve")
    run = drive(core, [make_request("a", 8, 3)], arrivals={1: [make_request("b", 4, 2)]})
    assert run.table() == ["P a0+8", "P b0+4 | D a", "D a b"]


def test_a_long_prompt_is_chunked_beside_decodes() -> None:
    core = make_core("inflight", "reserve", max_num_batched_tokens=8)
    run = drive(core, [make_request("a", 4, 4)], arrivals={1: [make_request("b", 16, 1)]})
    assert run.table() == ["P a0+4", "P b0+7 | D a", "P b7+7 | D a", "P b14+2 | D a"]


def test_contexts_share_what_is_left_first_come_first_served() -> None:
    core = make_core("inflight", "reserve", max_num_batched_tokens=12)
    run = drive(core, [make_request(name, 8, 1) for name in "abc"])
    assert run.table() == ["P a0+8 b0+4", "P b4+4 c0+8"]


def test_without_chunking_a_prompt_that_does_not_fit_whole_waits() -> None:
    core = make_core("inflight", "reserve", max_num_batched_tokens=12, chunked=False)
    run = drive(core, [make_request(name, 8, 1) for name in "ab"])
    assert run.table() == ["P a0+8", "P b0+8"]


def test_only_the_last_chunk_yields_a_token() -> None:
    core = make_core("inflight", "reserve", max_num_batched_tokens=4)
    run = drive(core, [make_request("a", 10, 1)])
    assert run.table() == ["P a0+4", "P a4+4", "P a8+2"]
    assert [event.time_s for event in run.events] == [3.0]


def test_reserve_starts_only_what_can_finish() -> None:
    # Room for 8 blocks; each request may come to need 4 (8 + 8 tokens): two at a time.
    core = make_core("inflight", "reserve", pool_tokens=32)
    run = drive(core, [make_request(name, 8, 8) for name in "abc"])
    assert max(step.running for step in run.steps) == 2
    assert not any(step.preempted for step in run.steps)


def test_optimistic_starts_more_and_preempts_the_last() -> None:
    core = make_core("inflight", "optimistic", pool_tokens=32)
    run = drive(core, [make_request(name, 8, 8) for name in "abc"])
    assert max(step.running for step in run.steps) == 3
    assert any(step.preempted for step in run.steps)
    assert [event.request_id for event in run.events if event.finish] == ["a", "b", "c"]


def test_a_context_under_way_makes_room_before_a_decode_does() -> None:
    core = make_core("inflight", "optimistic", pool_tokens=24, max_num_batched_tokens=4)
    run = drive(core, [make_request("a", 4, 8)], arrivals={1: [make_request("b", 16, 1)]})
    first = next(step for step in run.steps if step.preempted)
    assert first.preempted == ("b",)
    assert len(run.tokens("a")) == 8
    assert len(run.tokens("b")) == 1


def test_a_budget_that_cannot_decode_everybody_is_a_configuration_error() -> None:
    with pytest.raises(ConfigError, match="max_num_batched_tokens: 2 is not allowed"):
        Limits(max_num_seqs=4, max_num_batched_tokens=2)
