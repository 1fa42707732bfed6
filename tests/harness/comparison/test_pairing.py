"""Which units of two runs are pairs: what both had to do at the same time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from llmbench.harness.comparison.compare import compare
from llmbench.harness.comparison.evidence import examine, paired
from llmbench.harness.comparison.observed import STRETCHES, Observed
from llmbench.harness.comparison.quantities import QUANTITIES
from llmbench.harness.run.record import RequestRecord
from llmbench.harness.stats.bootstrap import Contrast
from llmbench.harness.storage.store import StoredRun

from ..observed import serve_in_turn
from ..stored import stored_run

BY_CLOCK = {"request_rate": 4.0}
LATENCY, RATE = QUANTITIES["ttft.mean"], QUANTITIES["output_throughput.window"]
WASTE = QUANTITIES["kv.waste_share"]


def run_of(
    *, seed: int = 0, by_clock: bool = True, fingerprint: str = "f" * 64, late_s: float = 0.0
) -> StoredRun:
    """400 requests of very different length at times that are the same in every run; each reply
    comes up to `late_s` later than in another, by chance."""
    lengths = np.random.default_rng(1)
    requests, steps = serve_in_turn(400, step_s=lambda: float(0.02 * lengths.lognormal(0, 1)))
    rng = np.random.default_rng(seed)
    later = [_later(one, late_s * rng.uniform()) for one in requests]
    config = BY_CLOCK if by_clock else None
    return stored_run(later, steps, label=f"run{seed}", fingerprint=fingerprint, config=config)


def _later(request: RequestRecord, by_s: float) -> RequestRecord:
    return replace(request, token_times_s=tuple(time_s + by_s for time_s in request.token_times_s))


def with_window(run: StoredRun, **changed: float | bool) -> StoredRun:
    window = run.result.window.model_copy(update=changed)
    return replace(run, result=run.result.model_copy(update={"window": window}))


def are_pairs(one: StoredRun, other: StoredRun) -> list[bool]:
    return [paired(Observed(one), Observed(other), each) for each in (LATENCY, RATE, WASTE)]


def test_requests_of_one_plan_are_pairs_and_stretches_where_the_clock_sets_the_pace() -> None:
    run = run_of()
    assert are_pairs(run, run) == [True, True, True]
    assert are_pairs(run, run_of(fingerprint="0" * 64)) == [False, False, False]
    assert are_pairs(run, run_of(by_clock=False)) == [True, False, False]


def test_turns_wait_for_replies_whatever_the_rate() -> None:
    run = run_of()
    turns = {"num_sessions": 100, "num_requests": 400}
    workload = run.result.workload.model_copy(update={"description": turns})
    sessions = replace(run, result=run.result.model_copy(update={"workload": workload}))
    assert are_pairs(run, sessions) == [True, False, False]


def test_stretches_are_pairs_of_the_same_time_in_a_steady_state() -> None:
    run = run_of()
    window = run.result.window
    stretch_s = (window.end_s - window.start_s) / STRETCHES
    for shift_s, same_time in ((0.9 * stretch_s, True), (1.2 * stretch_s, False)):
        shifted = with_window(run, start_s=window.start_s + shift_s)
        # Waste is over the whole run.
        assert are_pairs(run, shifted) == [True, same_time, True]
    assert are_pairs(run, with_window(run, steady=False)) == [True, False, False]


@pytest.mark.parametrize(("by_clock", "verdict"), [(True, "same"), (False, "inconclusive")])
def test_a_rate_that_was_offered_to_both_is_the_same_beyond_doubt(
    by_clock: bool, verdict: str
) -> None:
    """How much came when is what differs most within each run, and it came to both."""
    runs = [run_of(seed=seed, by_clock=by_clock, late_s=0.01) for seed in (0, 1)]
    assert runs[0].result.window.steady
    (row,) = (
        row for row in compare(runs).rows if (row.id, row.stat) == ("output_throughput", "window")
    )
    ratio = row.ratios[1]
    assert ratio is not None
    assert ratio.verdict == verdict


@pytest.mark.parametrize("contrast", ["ratio", "difference"])
def test_requests_that_fared_alike_in_both_do_not_show_that_all_would(contrast: Contrast) -> None:
    """None of 400 differed: of all, at 95 %, up to 3 in 400 may."""
    one, other = Observed(run_of(seed=0)), Observed(run_of(seed=1))
    rate = QUANTITIES["request_throughput.window"]
    found = examine(one, other, rate, contrast=contrast).estimate
    assert found is not None
    per_s = rate.value(one.stored.result)
    assert per_s is not None
    middle, margin = (1.0, 3 / 400) if contrast == "ratio" else (0.0, per_s * 3 / 400)
    assert found.value == pytest.approx(middle)
    assert (found.low, found.high) == pytest.approx((middle - margin, middle + margin), rel=1e-2)
