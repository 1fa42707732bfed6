"""Which runs are pairs, and what a quantity does between them: worked out by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from llmbench.engines.errors import ConfigError
from llmbench.harness.comparison.evidence import Finding
from llmbench.harness.comparison.quantities import QUANTITIES, find_quantity
from llmbench.harness.errors import InvalidRun
from llmbench.harness.repeats.directory import Repeats
from llmbench.harness.repeats.pairs import examine_repeats, match, refuse_invalid
from llmbench.harness.stats.bootstrap import Contrast
from llmbench.harness.storage.store import StoredRun

from .made import in_memory, invalid, make_run, metric_runs

TTFT = QUANTITIES["ttft.p99"]


def _bounds(finding: Finding) -> tuple[float, float, float]:
    assert finding.estimate is not None
    return finding.estimate.value, finding.estimate.low, finding.estimate.high


def test_the_ratio_is_the_geometric_mean_of_the_pairs() -> None:
    """Ratios 1.1, 1.2, 1.3 of runs that differ a hundredfold: logarithms 0.09531, 0.18232,
    0.26236, mean 0.18000, standard deviation 0.08355; 4.303 x 0.08355 / sqrt(3) = 0.20757."""
    before = metric_runs("a", "ttft__p99", (0.01, 0.1, 1.0))
    after = metric_runs("b", "ttft__p99", (0.011, 0.12, 1.3))
    found = examine_repeats(match(before, after), TTFT)
    expected = [math.exp(0.18000 + step * 0.20757) for step in (0, -1, 1)]
    assert _bounds(found) == pytest.approx(expected, abs=2e-4)
    assert found.baseline == pytest.approx(1.11 / 3)
    assert found.current == pytest.approx(1.431 / 3)


def test_the_difference_is_the_mean_of_the_pairs() -> None:
    """Differences of 1, 2 and 3 ms: mean 2, standard deviation 1; 4.303 / sqrt(3) = 2.484."""
    before = metric_runs("a", "tpot__mean", (0.010, 0.020, 0.030))
    after = metric_runs("b", "tpot__mean", (0.011, 0.022, 0.033))
    found = examine_repeats(match(before, after), QUANTITIES["tpot.mean"], contrast="difference")
    assert [1e3 * one for one in _bounds(found)] == pytest.approx([2, -0.484, 4.484], abs=1e-3)


def test_pairs_go_by_seed_and_requests_whatever_they_are_called() -> None:
    before = in_memory("a", [make_run(1, ttft__p99=0.1), make_run(2, ttft__p99=1.0)])
    after = in_memory("b", [make_run(1, seed=2, ttft__p99=2.0), make_run(2, seed=1, ttft__p99=0.2)])
    sides = match(before, after)
    assert sides.paired
    assert _bounds(examine_repeats(sides, TTFT)) == pytest.approx([2, 2, 2])


def test_runs_of_a_trace_are_pairs_whatever_their_seeds() -> None:
    """Those of one seed, and the others in order."""
    values = {1: 0.1, 2: 1.0, 3: 10.0}
    before = [make_run(at, ttft__p99=value) for at, value in values.items()]
    seeds = (8, 1, 9)
    after = [
        make_run(at, seed=seed, ttft__p99=2 * values[{8: 2, 1: 1, 9: 3}[seed]])
        for at, seed in enumerate(seeds, start=1)
    ]
    sides = match(
        *(
            in_memory(name, list(map(_of_a_trace, runs)))
            for name, runs in (("a", before), ("b", after))
        )
    )
    assert (sides.paired, sides.left_out) == (True, ())
    assert _bounds(examine_repeats(sides, TTFT)) == pytest.approx([2, 2, 2])


def _of_a_trace(run: StoredRun) -> StoredRun:
    workload = run.result.workload.model_copy(update={"fingerprint": "f" * 64})
    return replace(run, result=run.result.model_copy(update={"workload": workload}))


def test_runs_without_a_pair_are_left_out_and_named() -> None:
    before = in_memory("a", [make_run(at) for at in (1, 2, 3)])
    after = in_memory("b", [make_run(at) for at in (1, 2, 5)])
    sides = match(before, after)
    assert (len(sides.baseline), len(sides.current), sides.paired) == (2, 2, True)
    assert sides.left_out == ("a/repeat-3", "b/repeat-5")


def test_sides_that_were_sent_other_requests_are_two_groups() -> None:
    """12 and 14 ms against 26 and 28: either mean has a variance of 2 / 2, so the difference one of
    2, and Welch's degrees of freedom are 2, as in equal groups: 4.303 x sqrt(2) about 14."""
    before = in_memory("a", [make_run(at, tpot__mean=0.010 + 0.002 * at) for at in (1, 2)])
    after = in_memory("b", [make_run(at, tpot__mean=0.010 + 0.002 * at) for at in (8, 9)])
    sides = match(before, after)
    assert (sides.paired, sides.left_out) == (False, ())
    found = examine_repeats(sides, QUANTITIES["tpot.mean"], contrast="difference")
    half = 4.3027 * math.sqrt(2)
    assert [1e3 * one for one in _bounds(found)] == pytest.approx(
        [14, 14 - half, 14 + half], abs=1e-3
    )


def test_a_side_with_one_run_shows_no_spread() -> None:
    with pytest.raises(ConfigError, match=r"b with 1 repeat.* at least 2 repeats"):
        match(in_memory("a", [make_run(1), make_run(2)]), in_memory("b", [make_run(1)]))


def test_a_run_that_is_not_valid_is_refused_by_name() -> None:
    with pytest.raises(InvalidRun, match="a/repeat-2: not valid, so not comparable: it is marked"):
        refuse_invalid(in_memory("a", [make_run(1), invalid(make_run(2))]))


def _preemptions(name: str, counts: tuple[int, ...]) -> Repeats:
    return in_memory(
        name, [make_run(at, preemptions=count) for at, count in enumerate(counts, start=1)]
    )


@pytest.mark.parametrize(
    ("before", "after", "contrast", "expected"),
    [
        ((0, 0), (0, 0), "ratio", (1.0, 1.0, 1.0)),
        ((0, 0), (3, 4), "ratio", (math.inf, math.inf, math.inf)),
        ((2, 0), (2, 2), "ratio", (2.0, math.nan, math.nan)),
        ((12, 17, 22), (0, 0, 0), "ratio", (0.0, 0.0, 0.0)),
        ((12, 0, 22), (0, 0, 0), "ratio", (0.0, math.nan, math.nan)),
        ((5, 7), (5, 7), "ratio", (1.0, 1.0, 1.0)),
        ((0, 0), (3, 3), "difference", (3.0, 3.0, 3.0)),
    ],
)
def test_counts_of_nothing(
    before: tuple[int, ...], after: tuple[int, ...], contrast: Contrast, expected: tuple
) -> None:
    sides = match(_preemptions("a", before), _preemptions("b", after))
    quantity = find_quantity("rule", "preemptions")
    found = examine_repeats(sides, quantity, contrast=contrast)
    assert _bounds(found) == pytest.approx(expected, nan_ok=True)


def test_what_is_no_count_and_was_nothing_before_is_infinitely_more() -> None:
    """However little it is: what chance does to counts says nothing of it."""
    before, after = (
        in_memory(name, [make_run(at, queue__mean=value) for at in (1, 2)])
        for name, value in (("a", 0.0), ("b", 0.001))
    )
    estimate = examine_repeats(match(before, after), QUANTITIES["queue.mean"]).estimate
    assert estimate is not None
    assert estimate.low == math.inf


def test_what_a_run_lacks_is_no_finding() -> None:
    runs = metric_runs("a", "ttft__p99", (0.1, 0.2))
    found = examine_repeats(match(runs, runs), QUANTITIES["goodput.window"])
    assert (found.estimate, found.too_little) == (None, "a run does not have it")
