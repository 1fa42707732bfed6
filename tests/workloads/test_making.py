"""Prompts that would be more than a machine holds, and how far the others are."""

from __future__ import annotations

from typing import Any

import pytest
from llmbench.workloads.api import LengthLimits, Told, WorkloadError, plan_workload
from llmbench.workloads.load import parse_spec
from llmbench.workloads.prompts import run_of

ROOMY = LengthLimits(None, None, 1 << 40)


def planned(tokens: int, told: Told | None = None, **more: Any) -> int:
    length = {"kind": "fixed", "tokens": tokens}
    data = {"arrivals": {"kind": "at_once"}, "num_requests": 1000}
    lengths = {"kind": "sampled", "input": length, "output": length}
    spec = parse_spec({**data, "lengths": lengths, **more})
    corpus = range(100, 3000)
    plan = plan_workload(spec, seed=0, corpus_token_ids=corpus, limits=ROOMY, told=told)
    return len(plan.requests)


def test_more_prompt_tokens_than_can_be_held_are_refused_before_any_is_made() -> None:
    with pytest.raises(WorkloadError) as caught:
        planned(16_000_000)
    assert str(caught.value) == (
        "lengths: come to 16,000,000,000 prompt tokens in all; "
        "expected at most 1,000,000,000: fewer requests, or --max-input-len"
    )


def test_histories_and_prefixes_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """500 turns of 6 new tokens, 3 of them replies, are 3 x 500 x 500 tokens and more."""
    monkeypatch.setattr("llmbench.workloads.making.MOST_PROMPT_TOKENS", 700_000)
    turns = {"turns": {"kind": "fixed", "turns": 500}}
    with pytest.raises(WorkloadError, match=r"lengths: come to 70.,... prompt tokens in all"):
        planned(3, sessions=turns)
    assert planned(3, sessions={"turns": {"kind": "fixed", "turns": 5}}) == 1000
    prefixes = {"kind": "corpus", "shared_prefix_tokens": 10_000, "shared_prefix_count": 200_000}
    with pytest.raises(WorkloadError, match="expected at most 1,000,000,000 tokens in all prefix"):
        planned(3, prompts=prefixes)


def test_it_is_told_how_far_prompts_are() -> None:
    told: list[tuple[str, int, int]] = []
    planned(1, lambda *one: told.append(one), num_requests=3000)
    assert told == [("making prompts", n, 3000) for n in (1024, 2048)]
    told.clear()
    planned(3_000_000, lambda *one: told.append(one), num_requests=4)
    assert [done for _, done, _ in told] == [2, 4]


def test_a_run_far_longer_than_the_corpus_is_made_at_once() -> None:
    """Copied a round at a time, these took hours."""
    run = run_of((5, 6, 7), 1, 10_000_000)
    assert len(run) == 10_000_000
    assert run[:4] == (6, 7, 5, 6)
    assert run[-3:] == (7, 5, 6)
