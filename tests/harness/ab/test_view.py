"""A comparison as its report sees it: whose turn was when, and what counts."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from llmbench.harness.ab.compare import Length, Outcome, compare
from llmbench.harness.ab.protocol import Trial
from llmbench.harness.ab.questions import questions_of
from llmbench.harness.ab.side import InvalidTrial
from llmbench.harness.ab.view import view_of

from .fakes import ASKED, FakeSide

LENGTH = Length(num_requests=10)


class Noted(FakeSide):
    """Notes whose turn it is in a list that both sides share. failing: by number, from 1, of its
    own turns, what becomes of them."""

    def __init__(
        self, name: str, order: list[str], failing: dict[int, BaseException] | None = None
    ) -> None:
        super().__init__(lambda seed: 0.01 + 1e-6 * (seed % 7))
        self._name, self._order, self._failing = name, order, failing or {}

    def trial(self, seed: int, num_requests: int, limit_s: float) -> Trial:
        self._order.append(self._name)
        trial = super().trial(seed, num_requests, limit_s)
        if (failure := self._failing.get(len(self.trials))) is not None:
            raise failure
        return trial


def _compared(order: list[str], failing: dict[int, BaseException] | None = None) -> Outcome:
    sides = Noted("a", order), Noted("b", order, failing)
    return compare(*sides, questions_of(["tpot.mean=5%"]), LENGTH, coin=11)


def test_pairs_are_in_the_order_of_turns_and_say_whose_was_first() -> None:
    order: list[str] = []
    outcome = _compared(order)
    seen = view_of(outcome, ASKED)
    assert [pair.place for pair in seen.pairs] == list(range(1, outcome.pairs + 1))
    assert [pair.first for pair in seen.pairs] == order[::2]
    assert set(order[::2]) == {"a", "b"}
    assert [pair.a for pair in seen.pairs] == [one.values for one in outcome.a]
    assert [pair.b for pair in seen.pairs] == [one.values for one in outcome.b]
    assert seen.counted == seen.pairs


@pytest.mark.parametrize("at", [3, 4], ids=["first pair", "second pair"])
def test_a_dropped_quad_keeps_its_place(at: int) -> None:
    """What was valid of it is there, and counts for nothing; the pairs after it are not moved."""
    order: list[str] = []
    outcome = _compared(order, {at: InvalidTrial("b: 2 requests failed")})
    seen = view_of(outcome, ASKED)
    assert [(one.place, one.why) for one in seen.dropped] == [(3, "b: 2 requests failed")]
    aside = [pair for pair in seen.pairs if not pair.counts]
    assert {pair.place for pair in aside} <= {3, 4}
    assert sum(side is not None for pair in aside for side in (pair.a, pair.b)) == len(
        outcome.left_out
    )
    assert [pair.place for pair in seen.counted] == [1, 2, *range(5, outcome.pairs + 3)]
    assert "2 requests failed" in seen.cautions[0]


def test_what_was_cut_off_is_there_without_a_verdict() -> None:
    seen = view_of(_compared([], {6: KeyboardInterrupt()}), ASKED)
    assert (seen.failure, seen.stopped) == ("interrupted", "")
    assert [one.answer for one in seen.metrics] == [None]
    assert len(seen.counted) == 4
    assert seen.metrics[0].limit == pytest.approx(1.05)


def test_an_answer_has_its_metric_and_an_end_that_is_not_known_is_none() -> None:
    outcome = _compared([])
    (answer,) = outcome.answers
    endless = replace(outcome, answers=(replace(answer, low=0.0, high=math.inf),))
    for one, ends in ((outcome, (answer.low, answer.high)), (endless, (None, None))):
        (metric,) = view_of(one, ASKED).metrics
        assert metric.name == "tpot.mean"
        assert metric.answer is not None
        assert (metric.answer.low, metric.answer.high) == ends
        assert metric.answer.pairs == outcome.pairs


def test_both_sides_are_as_they_were_asked_for() -> None:
    seen = view_of(_compared([]), ASKED)
    assert seen.a.options == "--engine paged"
    assert seen.b.options == "--engine paged --quant awq"
    assert (seen.a.tree, seen.a.commit, seen.b.tree) == ("", "1a2b3c4d5e", "../other")
    assert seen.a.config == {"engine": "fake"}
    assert (seen.command, seen.created_at) == (ASKED.command, ASKED.created_at)
