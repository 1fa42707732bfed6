"""What it takes to show a percentile, and to compare it; and what a report shows of fewer."""

from __future__ import annotations

import copy

import pytest
from llmbench.reports.facts import tail_of
from llmbench.reports.model import KeyFigure, Run
from llmbench.reports.run_report import run_report
from llmbench.reports.tails import (
    highest_percentile,
    not_carried,
    samples_for_interval,
    samples_needed,
)

from .conftest import Load, make_run


@pytest.mark.parametrize(("q", "needed"), [(50, 2), (90, 10), (95, 20), (99, 100), (99.9, 1000)])
def test_samples_needed(q: float, needed: int) -> None:
    assert samples_needed(q) == needed


@pytest.mark.parametrize(("q", "needed"), [(50, 5), (90, 29), (95, 59), (99, 299), (5, 59)])
def test_samples_for_an_interval_are_wilks(q: float, needed: int) -> None:
    """The published sizes of Wilks' one-sided 95 % tolerance limits."""
    assert samples_for_interval(q) == needed


@pytest.mark.parametrize(
    ("samples", "highest"),
    [(0, None), (9, None), (10, 90), (19, 90), (20, 95), (99, 95), (100, 99), (5000, 99)],
)
def test_the_highest_percentile_has_a_sample_beyond_it(samples: int, highest: int | None) -> None:
    assert highest_percentile(samples) == highest
    carried = {"p90", "p95", "p99"} - not_carried(samples)
    assert max(carried, default=None) == (None if highest is None else f"p{highest}")


def _figure(run: Run, label: str) -> KeyFigure:
    return next(one for one in run_report(run).figures if one.label == label)


@pytest.mark.parametrize(
    ("served", "name", "slowest"),
    [(24, "p95", "the slowest 5 % took"), (12, "p90", "the slowest 10 % took")],
)
def test_no_percentile_is_headlined_that_the_check_rejects(
    served: int, name: str, slowest: str
) -> None:
    """Known wrong here: 24 requests, "p99 19.0 s", and a check that says "too few for a p99"."""
    run = make_run("few", Load(num_requests=served))
    report = run_report(run)

    assert f", {name} " in report.verdict
    assert f"(too few for a p99: {served} requests)" in report.verdict
    assert ", p99" not in report.verdict
    assert _figure(run, "TTFT p50").detail.startswith(f"{name} ")
    chart = next(one for one in report.charts if one.id == "ecdf-ttft")
    assert slowest in chart.reading
    parts = next(one for one in report.charts if one.id == "ttft-parts")
    assert "of the slowest request, " in parts.reading
    assert not any("1\u00a0%" in one for one in parts.panels[0].y.categories)


def test_a_handful_has_a_greatest_and_no_tail() -> None:
    run = make_run("handful", Load(num_requests=5))
    assert (tail_of(run, "ttft").name, tail_of(run, "ttft").samples) == ("max", 5)
    assert f"{_figure(run, 'TTFT p50').detail} (too few for a p99: 5 requests)" in (
        run_report(run).verdict
    )


def test_a_hundred_have_a_p99() -> None:
    run = make_run("hundred", Load(num_requests=120))
    tail = tail_of(run, "ttft")

    assert (tail.percentile, tail.lacking) == (99, "")
    assert tail.value_s == run.result["metrics"]["ttft"]["stats"]["p99"]
    assert "too few" not in run_report(run).verdict


def test_what_only_a_summary_is_known_of_goes_by_its_requests() -> None:
    run = make_run("summary")
    result = copy.deepcopy(dict(run.result))
    del result["metrics"]["ttft"]["stats"]["count"]
    result["counters"]["requests_ok"] = 15

    assert tail_of(Run("summary", result, run.requests, run.steps), "ttft").percentile == 90
