"""Runs side by side, where the difference between them is known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from llmbench.harness.cli.tables import print_run
from llmbench.harness.comparison.compare import compare, verdict
from llmbench.harness.comparison.evidence import Finding, examine
from llmbench.harness.comparison.observed import Observed
from llmbench.harness.comparison.quantities import QUANTITIES
from llmbench.harness.run.record import RequestRecord
from llmbench.harness.stats.bootstrap import Estimate
from llmbench.harness.storage.store import StoredRun
from llmbench.reports.model import Comparison, MetricComparison, Ratio

from ..observed import serve_in_turn
from ..stored import stored_run
from .known_runs import known_run, verdicts_of


def _row(comparison: Comparison, name: str) -> MetricComparison:
    return next(row for row in comparison.rows if row.name == name)


def _ratio(comparison: Comparison, name: str, place: int = 1) -> Ratio:
    ratio = _row(comparison, name).ratios[place]
    assert ratio is not None
    return ratio


def _bounds(ratio: Ratio) -> tuple[float, float]:
    assert ratio.low is not None
    assert ratio.high is not None
    return ratio.low, ratio.high


@pytest.mark.parametrize("slower", [0.7, 1.4])
def test_a_known_factor_is_found_in_every_latency_and_rate(slower: float) -> None:
    comparison = compare([known_run("a"), known_run("b", slower=slower, seed=2)])

    for name in ("ttft.p50", "tpot.mean", "itl.p50", "e2el.mean"):
        low, high = _bounds(_ratio(comparison, name))
        assert low <= slower <= high, name
        assert _ratio(comparison, name).verdict == ("worse" if slower > 1 else "better")
    low, high = _bounds(_ratio(comparison, "output_throughput.window"))
    assert low <= 1 / slower <= high
    verdict = _ratio(comparison, "output_throughput.window").verdict
    assert verdict == ("worse" if slower > 1 else "better")


def test_the_same_engine_twice_is_neither_better_nor_worse() -> None:
    comparison = compare([known_run("a"), known_run("b", seed=2)])

    assert set(verdicts_of(comparison).values()) <= {"same", "inconclusive"}


def test_a_run_against_itself_is_the_same_in_everything_measured_enough() -> None:
    verdicts = verdicts_of(compare([known_run("a", count=299), known_run("b", count=299)]))

    # The parts of two windows are not paired, so a rate is never certain.
    assert {verdict for name, verdict in verdicts.items() if ".window" not in name} == {"same"}


def test_a_percentile_that_a_run_withholds_is_not_shown_beside_others() -> None:
    few, many = known_run("few", count=24), known_run("many", count=120)
    comparison = compare([few, many])
    assert _row(comparison, "ttft.p99").values[0] is None
    assert _row(comparison, "ttft.p99").values[1] is not None
    assert _row(comparison, "ttft.p50").values[0] is not None
    # Nor is what they would say beside each other, in the table or in its sentence; why, is said.
    assert _row(comparison, "ttft.p99").ratios == (None, None)
    assert "p99" not in comparison.statement
    assert any("too few for a p99" in warning for warning in comparison.warnings)


def test_chunks_of_one_token_are_told_as_tokens_alone(capsys: pytest.CaptureFixture[str]) -> None:
    shown = {"dtype": "bfloat16"}
    runs = [_chunked(known_run(name, count=30, config=shown), 1.0) for name in "ab"]
    assert not any(row.id == "icl" for row in compare(runs).rows)
    print_run(runs[0].result)
    printed = capsys.readouterr().out
    assert "\nitl = icl " in printed
    assert "\nicl " not in printed
    # One run whose chunks held several tokens makes it another quantity of both.
    runs[1] = _chunked(runs[1], 2.0)
    assert {"icl.p50", "icl.p99"} <= {row.name for row in compare(runs).rows}
    print_run(runs[1].result)
    assert "\nicl " in capsys.readouterr().out


def _chunked(run: StoredRun, longer: float) -> StoredRun:
    """Chunks whose gaps are so many times as long as those of tokens."""
    itl = run.result.metrics["itl"]
    icl = itl.model_copy(
        update={"stats": {stat: longer * value for stat, value in itl.stats.items()}}
    )
    metrics = {**run.result.metrics, "icl": icl}
    return replace(run, result=run.result.model_copy(update={"metrics": metrics}))


def test_pairing_finds_what_unpaired_runs_cannot() -> None:
    """Requests of very different length, each 5 % slower: the same requests tell."""

    def lengths(scale: float) -> list[RequestRecord]:
        rng = np.random.default_rng(3)
        requests, _ = serve_in_turn(200, step_s=0.01)
        return [_stretched(r, scale * float(rng.lognormal(0, 1))) for r in requests]

    _, steps = serve_in_turn(200, step_s=0.01)
    before = stored_run(lengths(1.0), steps, label="a")
    after = stored_run(lengths(1.05), steps, label="b")
    elsewhere = stored_run(lengths(1.05), steps, label="b", fingerprint="0" * 64)

    paired = compare([before, after], allow_invalid=True)
    unpaired = compare([before, elsewhere], allow_invalid=True)

    assert _bounds(_ratio(paired, "e2el.mean")) == pytest.approx((1.05, 1.05))
    assert _ratio(paired, "e2el.mean").verdict == "worse"
    assert _ratio(unpaired, "e2el.mean").verdict == "inconclusive"
    assert paired.same_requests
    assert not unpaired.same_requests
    assert any("not sent the same requests" in warning for warning in unpaired.warnings)


def _stretched(request: RequestRecord, factor: float) -> RequestRecord:
    due_s = request.t_due_s
    times_s = tuple(due_s + factor * (time_s - due_s) for time_s in request.token_times_s)
    return replace(request, token_times_s=times_s)


def test_too_few_requests_decide_nothing() -> None:
    comparison = compare([known_run("a", count=150), known_run("b", count=150, slower=2, seed=2)])
    enough = compare([known_run("a", count=299), known_run("b", count=299, slower=2, seed=2)])

    assert _ratio(comparison, "ttft.p99").verdict == "inconclusive"
    assert _ratio(comparison, "ttft.p50").verdict == "worse"
    assert _ratio(enough, "ttft.p99").verdict == "worse"
    why = _ratio(comparison, "ttft.p99").too_little
    assert why
    assert any(why in warning for warning in comparison.warnings)


def test_counts_have_no_interval() -> None:
    comparison = compare([known_run("a", count=30), known_run("b", count=30, seed=2)])
    ratio = _ratio(comparison, "counters.steps")

    assert (ratio.value, ratio.low, ratio.high, ratio.verdict) == (1.0, None, None, "same")


def test_every_run_is_compared_with_the_first() -> None:
    comparison = compare(
        [known_run("a"), known_run("b", slower=1.4, seed=2), known_run("c", slower=0.7, seed=3)]
    )

    assert (comparison.runs, comparison.baseline) == (("a", "b", "c"), "a")
    assert _row(comparison, "ttft.p50").ratios[0] is None
    assert _ratio(comparison, "ttft.p50", 1).verdict == "worse"
    assert _ratio(comparison, "ttft.p50", 2).verdict == "better"
    assert comparison.statement.startswith("Against a, b is worse in output throughput (0.")
    assert "; c is better in output throughput (1." in comparison.statement


@pytest.mark.parametrize("count", [2, 3])
def test_intervals_hold_for_all_ratios_together(count: int) -> None:
    """At 95 % each, one of twenty would mislead: they share that chance, with every run more."""
    runs = [known_run("a"), known_run("b", slower=1.1, seed=2), known_run("c", slower=0.9, seed=3)][
        :count
    ]
    comparison = compare(runs)
    quantities = [one for one in comparison.rows if one.id not in ("counters", "memory")]
    # Three rates, fourteen latencies, the size of batches, budget and waste.
    assert len(quantities) == 21
    confidence = 1 - 0.05 / (len(quantities) * (count - 1))
    for name in ("output_throughput.window", "ttft.mean", "itl.p50", "kv.waste_share"):
        for place in range(1, count):
            told = examine(
                Observed(runs[0]), Observed(runs[place]), QUANTITIES[name], confidence=confidence
            )
            assert told.estimate is not None
            assert _bounds(_ratio(comparison, name, place)) == pytest.approx(
                (told.estimate.low, told.estimate.high), rel=1e-9
            )


def test_why_a_row_can_decide_nothing_is_said_once() -> None:
    comparison = compare([known_run("a", count=15), known_run("b", count=15, seed=2)])
    said = [one for one in comparison.warnings if one.startswith("inconclusive whatever")]
    assert len(said) == 1
    assert "is too short" in said[0]
    assert comparison.statement == "b against a: nothing is decided."
    assert comparison.undecided.startswith("Inconclusive in output throughput (")
    assert comparison.undecided.count(" s is too short (at least 5 s); in KV waste (") == 1
    assert comparison.undecided.endswith(
        "15 served requests are too few to compare KV waste, which needs 20."
    )


def test_a_rate_is_of_what_both_runs_count() -> None:
    """Known wrong here: "requests/s" of the replies a second that the run's own page has."""
    runs = [known_run("a"), known_run("b", seed=2)]
    units = {}
    for sampled in (0, 1, 2):
        config = {**runs[0].result.config, "samples": 3}
        of = [
            replace(run, result=run.result.model_copy(update={"config": config}))
            if at < sampled
            else run
            for at, run in enumerate(runs)
        ]
        rows = {row.name: row for row in compare(of).rows}
        units[sampled] = rows["request_throughput.window"].unit
    assert units == {0: "requests/s", 1: "requests or replies/s", 2: "replies/s"}


def test_rates_are_said_to_be_over_the_window_only_where_there_is_one() -> None:
    """Fifteen requests one after the other have ended before there could be a window."""
    steady, short = known_run("a"), known_run("b", count=8)
    assert [run.result.window.steady for run in (steady, short)] == [True, False]
    for runs, over in (
        ((steady, steady), "steady window"),
        ((short, short), "whole run"),
        ((steady, short), "steady window, else whole run"),
    ):
        assert compare(runs, allow_invalid=True).rates_over == over


def test_a_latency_has_the_unit_of_its_median(capsys: pytest.CaptureFixture[str]) -> None:
    """Known wrong here: "0.267 s 0.0874 s 0.0918 s", for one gap of 12 s."""
    stall_at = {100}
    steps = iter(range(10_000))
    requests, traces = serve_in_turn(40, step_s=lambda: 12.0 if next(steps) in stall_at else 0.01)
    config = {"dtype": "float32", "device": "cpu"}
    print_run(stored_run(requests, traces, config=config).result)
    row = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("itl"))
    assert row.split()[2:5] == ["ms", "10.0", "ms"]


def _preempted(times: int, **config: Any) -> StoredRun:
    run = known_run(label=f"{times}", config=config)
    counters = run.result.counters.model_copy(update={"preemptions": times})
    return replace(run, result=run.result.model_copy(update={"counters": counters}))


def test_what_gets_worse_from_nothing_is_worse_and_said() -> None:
    comparison = compare([_preempted(0), _preempted(12)])
    assert _row(comparison, "counters.preemptions").values == (0.0, 12.0)
    ratio = _ratio(comparison, "counters.preemptions")
    assert (ratio.verdict, ratio.low) == ("worse", None)
    assert "worse in preemptions (from 0)" in comparison.statement
    by_clock = compare([_preempted(0, request_rate=5.0), _preempted(12, request_rate=5.0)])
    assert _ratio(by_clock, "counters.preemptions").verdict == "inconclusive"
    assert _ratio(compare([_preempted(0), _preempted(0)]), "counters.preemptions").verdict == "same"


def test_counts_of_a_schedule_that_goes_by_the_clock_are_not_exact() -> None:
    """Preemptions of one engine under one load, 12 and 15 of them, came by chance."""

    by_clock = _ratio(
        compare([_preempted(12, request_rate=5.0), _preempted(15, request_rate=5.0)]),
        "counters.preemptions",
    )
    assert by_clock.verdict == "inconclusive"
    assert "repeats do" in by_clock.too_little
    assert (
        _ratio(compare([_preempted(12), _preempted(15)]), "counters.preemptions").verdict == "worse"
    )


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [(0.978, 0.987, "worse"), (0.9905, 0.9998, "worse"), (0.998, 1.001, "same")],
)
def test_a_limit_that_eight_times_as_many_miss_is_not_kept_the_same(
    low: float, high: float, said: str
) -> None:
    """Where 0.2 % and then 1.6 % of requests are late, both shares are within 2 % of 1."""
    estimate = Estimate((low + high) / 2, low, high)
    share, rate = QUANTITIES["goodput_share.run"], QUANTITIES["output_throughput.run"]
    assert verdict(Finding(share, 0.998, 0.984, estimate)) == said
    assert verdict(Finding(rate, 100.0, 98.6, estimate)) == ("same" if low > 0.98 else "worse")


def test_a_whole_runs_share_of_a_peak_is_no_better_for_being_higher() -> None:
    """It moves with throughput, which has the interval, or with work that a schedule adds."""
    higher = Estimate(1.1, 1.1, 1.1)
    for name, said in (("mfu.run", None), ("mbu.run", None), ("mbu.decode", "better")):
        assert verdict(Finding(QUANTITIES[name], 0.5, 0.55, higher)) == said
    same = Estimate(1.01, 1.01, 1.01)
    assert verdict(Finding(QUANTITIES["mbu.run"], 0.5, 0.505, same)) == "same"
