"""What steps in a history, what enters no test, and what the reports say of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from llmbench.harness.comparison.quantities import Quantity, find_quantity
from llmbench.harness.history.trend import history_of, trends_of
from llmbench.harness.rendering import history_reports
from llmbench.harness.result import Check
from llmbench.harness.storage.store import RunOnDisk
from llmbench.reports.history_model import Trend
from llmbench.reports.history_report import history_report
from llmbench.reports.model import Chart

from ..judged import quality_of
from .nights import STEPS, TTFT, history, nightly, run


def test_a_measured_step_is_found_at_its_run_with_the_commit_that_brought_it() -> None:
    told = history(nightly([0.2] * 9 + [0.3] * 9))
    (series,) = told.series
    (trend,) = (one for one in series.trends if one.id == "ttft")
    (step,) = (one for one in trend.steps if one.index == 9)
    assert step.verdict == "worse"
    assert step.ratio == pytest.approx(1.5, rel=0.03)
    assert step.p is not None
    assert step.p <= 0.01
    reports = history_reports(told)
    for name in ("history.md", "history.html"):
        assert "c09c09c09c → c10c10c10c" in reports[name]
    assert "worse" in reports["history.md"]
    assert json.loads(reports["history.json"])["series"][0]["trends"][0]["steps"]


def test_what_is_tested_is_said_before_it_is() -> None:
    said: list[str] = []
    history_of(nightly([0.2] * 12), (), [TTFT, STEPS], stage=said.append)
    assert said == ["TTFT p99 of 12 runs, quantity 1 of 1: does it step?"]


def trend_of(runs: Sequence[RunOnDisk], quantity: Quantity, significance: float) -> Trend | None:
    """Of a quantity that is judged alone."""
    return next(iter(trends_of(runs, [quantity], significance)), None)


def test_a_count_and_all_of_a_simulation_step_wherever_they_change() -> None:
    counted = [run(f"n{at}", day=at, steps=steps) for at, steps in enumerate((90, 90, 91), 1)]
    trend = trend_of(counted, STEPS, 0.01)
    assert trend is not None
    assert [(one.index, one.before, one.after, one.p) for one in trend.steps] == [(2, 90, 91, None)]
    virtual = [run(f"n{at}", ttft_s, simulated=True) for at, ttft_s in enumerate((0.2, 0.2, 0.1))]
    trend = trend_of(virtual, TTFT, 0.01)
    assert trend is not None
    (step,) = trend.steps
    assert (trend.kind, step.index, step.verdict) == ("exact", 2, "better")


@pytest.mark.parametrize(
    ("name", "values", "steps"),
    [
        ("perplexity", (12.0, 12.0 + 3e-8, 12.0), []),
        ("perplexity", (12.0, 12.1, 12.2), []),
        ("perplexity", (12.0, 12.2, 12.3, 12.4), [2]),  # 2.5 % from the first of its level
        ("text_top1_agreement", (0.995, 0.985, 0.985), [1]),
    ],
)
def test_quality_steps_beyond_what_a_comparison_calls_the_same(
    name: str, values: tuple[float, ...], steps: list[int]
) -> None:
    runs = [_judged(run(f"n{at}", day=at), name, one) for at, one in enumerate(values, 1)]
    trend = trend_of(runs, find_quantity("metric", f"quality.{name}"), 0.01)
    assert trend is not None
    assert [one.index for one in trend.steps] == steps


def _judged(one: RunOnDisk, name: str, value: float) -> RunOnDisk:
    quality = quality_of([2.0] * 32, agreed=[32] * 32).model_copy(update={name: value})
    return replace(one, result=one.result.model_copy(update={"quality": quality}))


def test_counts_of_requests_that_come_by_the_clock_are_measured() -> None:
    clocked = [
        run(f"n{at}", day=at, steps=steps, config={"request_rate": 4.0})
        for at, steps in enumerate((90, 91, 90, 92, 91, 90), 1)
    ]
    trend = trend_of(clocked, STEPS, 0.01)
    assert trend is not None
    assert (trend.kind, trend.steps) == ("measured", ())


def test_the_last_digit_of_a_simulation_is_no_step() -> None:
    values = (0.2, 0.2 * (1 + 1e-12), 0.2 * (1 + 1e-6))
    trend = trend_of([run(f"n{at}", s, simulated=True) for at, s in enumerate(values)], TTFT, 0.01)
    assert trend is not None
    assert [step.index for step in trend.steps] == [2]


def rated(day: int, rate_per_s: float, *, steady: bool, simulated: bool = False) -> RunOnDisk:
    """A run of that throughput in its window, and of 900 tokens/s over the whole run."""
    one = run(f"n{day}", day=day, commit=f"c{day:02}" * 4, simulated=simulated).result
    stats = {"window": rate_per_s, "run": 900.0}
    metric = one.metrics["output_throughput"].model_copy(update={"stats": stats})
    changed = {
        "metrics": {**one.metrics, "output_throughput": metric},
        "window": one.window.model_copy(update={"steady": steady}),
    }
    return RunOnDisk(Path(f"n{day}"), one.model_copy(update=changed))


def test_a_run_without_a_steady_window_is_no_step_in_its_rates() -> None:
    """Every third run's rate is over the whole run, its end included, and so a tenth lower."""
    runs = [rated(day, 1000.0 if day % 3 else 900.0, steady=day % 3 > 0) for day in range(1, 13)]
    window, whole = (
        find_quantity("metric", f"output_throughput.{stat}") for stat in ("window", "run")
    )
    for chosen, quantity, values in (
        (runs, window, (1000.0, 1000.0, None) * 4),
        (runs, whole, (900.0,) * 12),
        (runs[2::3], window, (900.0,) * 4),
    ):
        trend = trend_of(chosen, quantity, 0.01)
        assert trend is not None
        assert trend.values == values


def test_what_changed_is_counted_from_the_last_run_that_has_the_quantity() -> None:
    """The second run has no rate to compare: the step may have come with it as well."""
    runs = [
        rated(1, 1000.0, steady=True, simulated=True),
        rated(2, 700.0, steady=False, simulated=True),
        rated(3, 800.0, steady=True, simulated=True),
    ]
    told = history_of(runs, (), [find_quantity("metric", "output_throughput.window")])
    assert "c01c01c01c → c03c03c03c" in history_reports(told)["history.md"]


def busy(one: RunOnDisk) -> RunOnDisk:
    """The same, while others had the machine."""
    detail = "other processes used 74% of the processor time"
    check = Check(id="machine", ok=False, fatal=False, detail=detail)
    validity = one.result.validity.model_copy(update={"checks": (check,)})
    return replace(one, result=one.result.model_copy(update={"validity": validity}))


def test_times_of_disturbed_runs_are_in_no_test_and_named() -> None:
    """Of 14 such runs, which two by two decide nothing, a step was called with p = 0.001."""
    runs = [busy(one) for one in nightly([0.2] * 7 + [0.3] * 7)]
    told = history(runs)
    (trend,) = (one for one in told.series[0].trends if one.id == "ttft")
    assert trend.steps == ()
    assert trend.judged == ()
    assert trend.too_few
    reports = history_reports(told)
    for name in ("history.md", "history.html"):
        assert (
            "other processes used 74% of the processor time while n1 was measured" in reports[name]
        )
    assert "times of 14 of 14 runs" in reports["history.md"]
    assert history_report(told).badge.tone != "good"


def test_one_disturbed_night_hides_no_step_and_counts_still_decide() -> None:
    runs = nightly([0.2] * 9 + [0.3] * 9)
    runs[4] = busy(nightly([9.0] * 5)[4])
    runs[9] = busy(runs[9])
    trend = trend_of(runs, TTFT, 0.01)
    assert trend is not None
    assert trend.left_out == (4, 9)
    assert 10 in [step.index for step in trend.steps]  # within a level one in a hundred steps
    counted = [busy(run(f"n{at}", day=at, steps=90 + at // 3)) for at in (1, 2, 3)]
    trend = trend_of(counted, STEPS, 0.01)
    assert trend is not None
    assert [step.index for step in trend.steps] == [2]


def test_a_percentile_is_of_runs_that_have_a_sample_beyond_it_and_the_others_are_counted() -> None:
    """Of 99 requests a p99 lies between the two slowest: no run's report shows it."""
    few = {4, 9}
    runs = [
        run(f"n{at}", 9.0 if at in few else 0.2, day=at + 1, samples=99 if at in few else 100)
        for at in range(12)
    ]
    told = history(runs)
    (trend,) = (one for one in told.series[0].trends if one.id == "ttft")
    assert trend.values == tuple(None if at in few else 0.2 for at in range(12))
    reports = history_reports(told)
    for name in ("history.md", "history.html"):
        assert "TTFT p99 of 2 of 12 runs of " in reports[name]
        assert " is left out: fewer than 100 samples" in reports[name]
    assert history(runs[:4]).series[0].not_carried == ()


def test_percentiles_that_no_run_carries_are_not_called_steady() -> None:
    runs = [run(f"n{at}", day=at + 1, samples=20) for at in range(12)]
    report = history_report(history_of(runs, (), [TTFT]))
    assert report.badge.tone == "plain"
    assert report.verdict.startswith("Nothing to compare")
    (note,) = report.notes
    assert note.text.startswith("TTFT p99 of 12 of 12 runs of ")


def test_levels_that_were_measured_too_shortly_are_not_called_another() -> None:
    """As of repeats, the runs of a side count together: seven of half a second are 3.5 s."""
    runs = [
        replace(one, result=one.result.model_copy(update={"duration_s": 0.5}))
        for one in nightly([0.2] * 7 + [0.3] * 7)
    ]
    trend = trend_of(runs, TTFT, 0.01)
    assert trend is not None
    assert trend.steps == ()
    assert trend.undecided == "runs of 3.5 s together are too short (at least 5 s)"
    assert "a step of TTFT p99" in history_reports(history(runs))["history.md"]


def test_few_measured_runs_show_no_step_however_far_apart() -> None:
    trend = trend_of(nightly([0.2] * 4 + [9.0] * 4), TTFT, 0.01)
    assert trend is not None
    assert trend.steps == ()


@pytest.mark.parametrize(
    ("runs", "significance", "badge", "verdict"),
    [
        (10, 0.01, "plain", "Too few runs to tell: what is measured shows a step from 11 runs"),
        (11, 0.01, "good", "Nothing stepped."),
        (10, 0.001, "plain", "Too few runs to tell: what is measured shows a step from 15 runs"),
    ],
)
def test_few_runs_are_not_called_steady(
    runs: int, significance: float, badge: str, verdict: str
) -> None:
    """Of nine runs however far apart none can be called a step, and of ten it takes luck."""
    nights = [run(f"n{day}", day=day) for day in range(1, runs + 1)]
    report = history_report(history_of(nights, (), [TTFT], significance=significance))
    assert report.badge.tone == badge
    assert report.verdict.startswith(verdict)
    few = badge == "plain"
    assert [one.detail for one in report.figures] == ["too few runs to tell" if few else "no step"]
    (chart,) = report.sections[0].parts
    assert isinstance(chart, Chart)
    assert chart.reading == ("Too few runs to tell." if few else "No step.")


def test_what_repeats_exactly_is_judged_of_two_runs() -> None:
    pair = [run("a", day=1, steps=90), run("b", day=2, steps=90)]
    assert history_report(history_of(pair, (), [STEPS])).verdict == "Nothing stepped."
    both = history_report(history(pair))
    assert both.badge.tone == "plain"
    assert both.verdict.endswith("on; nothing else stepped.")
    fewer = [pair[0], run("b", day=2, steps=80)]
    assert history_report(history(fewer)).verdict.startswith("Nothing stepped for the worse, but ")
