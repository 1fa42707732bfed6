"""Turns and think times against their closed forms, and the bytes of prompts that grow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llmbench.harness.run.arrivals import Arrivals
from llmbench.workloads.api import LengthLimits, Plan, WorkloadError, plan_workload
from llmbench.workloads.load import parse_spec
from llmbench.workloads.scaled import arriving, at_rate, requests_per_session
from llmbench.workloads.sessions import SessionDraws, turns_at
from llmbench.workloads.spec import (
    ExponentialThink,
    GeometricTurns,
    LognormalThink,
    Sessions,
    UniformThink,
    UniformTurns,
)
from scipy.stats import geom, lognorm

from .distributions import assert_follows

CORPUS = np.random.default_rng(2).integers(5000, size=4000).tolist()
ROOMY = LengthLimits(None, None, 100_000)


def planned(
    turns: dict[str, Any],
    n: int = 40,
    limits: LengthLimits = ROOMY,
    seed: int = 3,
    kind: str = "corpus",
    new: dict[str, Any] | None = None,
    **more: Any,
) -> Plan:
    spec = {
        "num_requests": n,
        "arrivals": {"kind": "constant", "rate_per_s": 2},
        "lengths": {
            "kind": "sampled",
            "input": new or {"kind": "uniform", "min_tokens": 3, "max_tokens": 9},
            "output": {"kind": "uniform", "min_tokens": 2, "max_tokens": 5},
        },
        "prompts": {"kind": kind},
        "sessions": {"turns": turns, "think_s": {"kind": "exponential", "mean_s": 2}},
        **more,
    }
    return plan_workload(
        parse_spec(spec), seed=seed, corpus_token_ids=CORPUS, limits=limits, vocab_size=5000
    )


THREE = {"kind": "fixed", "turns": 3}


@pytest.mark.parametrize("kind", ["corpus", "random"])
def test_a_turn_begins_with_all_that_was_said_before(kind: str) -> None:
    """Its prompt: the prompt before, a reply of exactly the planned tokens, and 3 to 9 new ones."""
    requests = planned(THREE, n=39, kind=kind).requests
    assert [one.after for one in requests[:6]] == [None, 0, 1, None, 3, 4]
    for one in requests:
        if one.after is not None:
            before = requests[one.after]
            said = tuple(before.prompt_token_ids)
            assert one.prompt_token_ids[: len(said)] == said
            new = len(one.prompt_token_ids) - len(said) - before.output_tokens
            assert 3 <= new <= 9


def test_only_a_sessions_first_turn_has_a_due_time() -> None:
    requests = planned(THREE, n=9).requests
    assert [one.t_due_s for one in requests] == [0, None, None, 0.5, None, None, 1, None, None]
    assert all((one.think_s > 0) == (one.after is not None) for one in requests)


def test_replies_of_one_session_are_not_those_of_another() -> None:
    requests = planned(THREE, n=30).requests
    replies = {
        tuple(one.prompt_token_ids)[len(before.prompt_token_ids) :][: before.output_tokens]
        for one in requests
        if one.after is not None
        for before in (requests[one.after],)
        if before.output_tokens >= 4
    }
    assert len(replies) > 5


def test_turns_follow_a_geometric_distribution() -> None:
    turns = GeometricTurns(kind="geometric", mean=3.5)
    u = np.linspace(0.0005, 0.9995, 1000)
    assert [turns_at(turns, p) for p in u] == geom(1 / 3.5).ppf(u).astype(int).tolist()
    assert turns_at(turns.model_copy(update={"max_turns": 4}), 0.99) == 4
    assert turns_at(GeometricTurns(kind="geometric", mean=1), 0.99) == 1


def test_a_die_of_turns() -> None:
    die = UniformTurns(kind="uniform", min_turns=1, max_turns=6)
    assert [turns_at(die, u) for u in (0, 0.17, 0.5, 0.99)] == [1, 2, 4, 6]


@pytest.mark.parametrize(
    ("think", "cdf"),
    [
        (ExponentialThink(kind="exponential", mean_s=4), lambda x: 1 - np.exp(-x / 4)),
        (UniformThink(kind="uniform", min_s=1, max_s=3), lambda x: (x - 1) / 2),
        (LognormalThink(kind="lognormal", mu=1, sigma=0.5), lognorm(0.5, scale=np.e).cdf),
    ],
)
def test_think_times_follow_their_distribution(think: Any, cdf: Any) -> None:
    draws = SessionDraws(Sessions(think_s=think), np.random.default_rng(5))
    assert_follows(np.array([draws.think_s() for _ in range(5000)]), cdf)


def test_a_session_ends_before_the_turn_that_does_not_fit() -> None:
    """Each turn adds 10 + 5 tokens: 10, 25, 40 and 55 in. With 5 out, 45 tokens hold three."""
    ten = {"kind": "fixed", "tokens": 10}
    lengths = {"kind": "sampled", "input": ten, "output": {"kind": "fixed", "tokens": 5}}
    four = {"kind": "fixed", "turns": 4}
    plan = planned(four, 8, LengthLimits(None, None, 45), lengths=lengths, fit="clip")
    assert [len(one.prompt_token_ids) for one in plan.requests] == [10, 25, 40, 10, 25, 40]
    assert [one.after for one in plan.requests] == [None, 0, 1, None, 3, 4]
    assert plan.adjustments == ("2 of 8 turns left out: their sessions had grown too long",)
    capped = planned(four, 8, LengthLimits(30, None, 1000), lengths=lengths)
    assert [len(one.prompt_token_ids) for one in capped.requests] == [10, 25, 10, 25]
    with pytest.raises(WorkloadError) as caught:
        planned(four, 8, LengthLimits(None, None, 45), lengths=lengths)
    assert str(caught.value).startswith(
        "sessions: '55 + 5 tokens' of a later turn are longer than the model; expected at most 45"
    )


def test_ramps_and_stages_count_sessions() -> None:
    stages = [{"arrivals": {"kind": "constant", "rate_per_s": 1}, "duration_s": 4}]
    plan = planned(THREE, n=0, arrivals={"kind": "stages", "stages": stages}, num_requests=None)
    assert len(plan.requests) == 12
    assert plan.description["num_sessions"] == 4


def test_a_rate_of_sessions_is_not_called_one_of_requests() -> None:
    """Two sessions of three requests a second. Known wrong here: request_rate_per_s 2."""
    plan = planned(THREE)
    told = plan.description
    assert (told["session_rate_per_s"], told["request_rate_per_s"]) == (2.0, None)
    assert told["offered_session_rate_per_s"] == pytest.approx(2.0)
    assert told["offered_rate_per_s"] is None
    assert (arriving(told), requests_per_session(told)) == ("sessions", pytest.approx(40 / 14))
    alone = planned({"kind": "fixed", "turns": 1}).description
    assert (alone["session_rate_per_s"], alone["request_rate_per_s"]) == (None, 2.0)
    assert (arriving(alone), requests_per_session(alone)) == ("requests", None)
    faster = at_rate(plan, 8.0)
    assert faster.adjustments[-1] == "every gap multiplied by 0.25, for 8 sessions/s"
    assert faster.description["session_rate_per_s"] == pytest.approx(8.0)
    assert faster.description["request_rate_per_s"] is None
    # Think times are the users', and no gaps between arrivals.
    assert [one.think_s for one in faster.requests] == [one.think_s for one in plan.requests]


def test_a_driver_sends_every_turn_after_the_one_before() -> None:
    """Through the harness's own Arrivals, with every request lasting a second."""
    plan = planned({"kind": "uniform", "min_turns": 1, "max_turns": 4}, n=30)
    arrivals, now_s, ended_s, sent = Arrivals(plan), 0.0, {}, []
    while arrivals:
        for one, due_s in list(arrivals.due(now_s)):
            sent.append(one.index)
            if one.after is not None:
                assert due_s == pytest.approx(ended_s[one.after] + one.think_s)
            ended_s[one.index] = max(now_s, due_s) + 1
            arrivals.ended(one, ended_s[one.index])
        now_s = arrivals.next_due_s() or now_s
    assert sorted(sent) == list(range(30))


@settings(deadline=None, max_examples=40)
@given(
    n=st.integers(1, 30),
    more=st.integers(0, 20),
    seed=st.integers(0, 2**32),
    kind=st.sampled_from(["corpus", "random"]),
)
def test_a_longer_plan_begins_with_a_shorter_one_and_repeats(
    n: int, more: int, seed: int, kind: str
) -> None:
    turns = {"kind": "geometric", "mean": 2.5}
    short = planned(turns, n, seed=seed, kind=kind)
    assert len(short.requests) == n
    assert planned(turns, n + more, seed=seed, kind=kind).requests[:n] == short.requests
    assert planned(turns, n, seed=seed, kind=kind).fingerprint() == short.fingerprint()


@pytest.mark.parametrize(
    ("sessions", "message"),
    [
        ({}, "workload: has no turns for corpus prompts; expected sessions.turns, as the prompts"),
        ({"turns": {"kind": "fixed", "turns": 0}}, "sessions.turns.turns: 0 is not allowed"),
        ({"turns": {"kind": "fix"}}, "sessions.turns.kind: 'fix' is not allowed; expected one of"),
        ({"turns": THREE, "think": 1}, "sessions: 'think' is not a field here; expected one of"),
    ],
)
def test_what_is_wrong_is_named(sessions: dict[str, Any], message: str) -> None:
    with pytest.raises(WorkloadError) as caught:
        planned(THREE, sessions=sessions)
    assert str(caught.value).startswith(message)
