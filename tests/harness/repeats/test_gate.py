"""The gate's rules on repeated runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from llmbench.engines.errors import ConfigError
from llmbench.harness.gate.rules import parse_rule
from llmbench.harness.gate.runs import GateOutcome, describe, verdicts_of
from llmbench.harness.gate.text import to_text
from llmbench.harness.repeats.directory import Repeats
from llmbench.harness.repeats.gate import gate_repeats
from llmbench.harness.storage.store import RunOnDisk

from ..stored import SIMULATION
from .made import in_memory, invalid, make_run, metric_runs

BEFORE = (0.100, 0.110, 0.105, 0.120)
BY_TENTH = (1.09, 1.10, 1.11, 1.10)


def _gate(baseline: Repeats, current: Repeats, *rules: str) -> GateOutcome:
    return gate_repeats(baseline, current, [parse_rule(rule) for rule in rules])


def _ttft(factors: Sequence[float]) -> GateOutcome:
    return _gate(*_sides(factors), "ttft.p99=5%")


def _sides(factors: Sequence[float]) -> tuple[Repeats, Repeats]:
    values = [factor * value for factor, value in zip(factors, BEFORE, strict=True)]
    return metric_runs("a", "ttft__p99", BEFORE), metric_runs("b", "ttft__p99", values)


@pytest.mark.parametrize(
    ("factors", "exit_code"),
    [
        (BY_TENTH, 1),
        ((1.0, 1.01, 0.99, 1.0), 0),
        ((0.7, 0.71, 0.69, 0.7), 0),  # quicker is no regression
        ((1.3, 0.9, 1.2, 0.8), 4),
    ],
)
def test_exit_codes(factors: Sequence[float], exit_code: int) -> None:
    assert _ttft(factors).exit_code == exit_code


def test_the_change_is_described_with_its_interval_over_pairs() -> None:
    """Logarithms of the ratios: mean 0.09527, standard deviation 0.00742; 3.182 x 0.00742 / 2."""
    outcome = _ttft(BY_TENTH)
    assert describe(outcome.rows[0]) == "108.8 -> 119.6 ms (+8.7 to +11.3 %)"
    text = to_text(verdicts_of(outcome))
    assert "over 4 pairs of runs" in text
    assert "weak evidence" not in text


def test_two_rules_share_the_chance_of_error() -> None:
    one = _ttft(BY_TENTH).rows[0]
    two = _gate(*_sides(BY_TENTH), "ttft.p99=5%", "preemptions=0%").rows[0]
    assert one.low is not None
    assert two.low is not None
    assert two.low < one.low


def _counted(name: str, counts: Sequence[int]) -> Repeats:
    runs = [make_run(at, preemptions=count) for at, count in enumerate(counts, start=1)]
    return in_memory(name, runs)


@pytest.mark.parametrize(
    ("before", "after", "rule", "verdict"),
    [
        ((5, 7), (5, 7), "preemptions=exact", "passed"),
        ((5, 7, 9), (5, 7, 8), "preemptions=exact", "regressed"),
        ((5, 7), (5, 7), "preemptions=0%", "passed"),
        ((0, 0), (2, 3), "preemptions=0%", "regressed"),
        ((5, 7), (7, 9), "preemptions=2", "passed"),
        ((5, 7), (8, 10), "preemptions=2", "regressed"),
        ((5, 7), (5, 9), "preemptions=1", "inconclusive"),
    ],
)
def test_counts(before: Sequence[int], after: Sequence[int], rule: str, verdict: str) -> None:
    outcome = _gate(_counted("a", before), _counted("b", after), rule)
    assert [row.verdict for row in outcome.rows] == [verdict]


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [
        # Each pair differs by one, as one time in nine of pairs that are alike.
        ((1, 2), (2, 3), "inconclusive"),
        # Of five one was as likely as the other: all fall to one side one time in sixteen.
        ((0, 0), (2, 3), "inconclusive"),
        ((0, 0), (3, 4), "regressed"),
        ((40, 41, 42), (61, 62, 63), "regressed"),
    ],
)
def test_counts_of_a_schedule_by_the_clock_spread_as_counts_do(
    before: Sequence[int], after: Sequence[int], verdict: str
) -> None:
    baseline, current = (replace(one, runs=tuple(map(_by_clock, one.runs))) for one in
                         (_counted("a", before), _counted("b", after)))  # fmt: skip
    assert [row.verdict for row in _gate(baseline, current, "preemptions=0%").rows] == [verdict]


def _by_clock(run: RunOnDisk) -> RunOnDisk:
    config = {**run.result.config, "request_rate": 5.0}
    return RunOnDisk(run.directory, run.result.model_copy(update={"config": config}))


@pytest.mark.parametrize(
    ("before", "after", "verdict", "zeros"),
    [
        ((12, 17, 22), (0, 0, 0), "passed", ""),
        # Of three one was as likely as the other: all fall to one side one time in four.
        ((1, 1, 1), (0, 0, 0), "inconclusive", "3 of the current side's 3 runs"),
        ((0, 1, 0), (12, 17, 22), "inconclusive", "2 of the baseline's 3 runs"),
    ],
)
def test_a_count_that_disappears_is_no_regression(
    before: Sequence[int], after: Sequence[int], verdict: str, zeros: str
) -> None:
    baseline, current = (replace(one, runs=tuple(map(_by_clock, one.runs))) for one in
                         (_counted("a", before), _counted("b", after)))  # fmt: skip
    (row,) = _gate(baseline, current, "preemptions=5%").rows
    note = f"no ratio is sure: it is 0 in {zeros}" if zeros else ""
    assert (row.verdict, row.note) == (verdict, note)


def test_counts_of_other_requests_are_no_evidence() -> None:
    other = in_memory("b", [make_run(at, seed=90 + at, preemptions=5) for at in (1, 2)])
    (row,) = _gate(_counted("a", (5, 5)), other, "preemptions=0%").rows
    assert (row.verdict, row.note) == ("inconclusive", "the runs were not sent the same requests")


def test_a_repeat_that_is_not_valid_stops_the_gate() -> None:
    current = in_memory("b", [make_run(1), invalid(make_run(2))])
    outcome = _gate(_counted("a", (5, 5)), current, "preemptions=0%")
    assert (outcome.exit_code, outcome.rows) == (3, ())
    assert outcome.invalid == ("the current run's repeat-2 is not valid: it is marked invalid",)


def test_what_cannot_be_judged_is_refused() -> None:
    runs = _counted("a", (5, 5))
    with pytest.raises(ConfigError, match="at least one --max-regression"):
        gate_repeats(runs, runs, [])
    simulated = Repeats(
        runs.directory,
        tuple(
            RunOnDisk(one.directory, one.result.model_copy(update={"simulation": SIMULATION}))
            for one in runs.runs
        ),
    )
    with pytest.raises(ConfigError, match="simulated"):
        _gate(runs, simulated, "preemptions=0%")
