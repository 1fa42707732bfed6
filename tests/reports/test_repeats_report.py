"""What is said about a repeated run."""

from __future__ import annotations

from dataclasses import replace

import pytest
from llmbench.reports.chart_table import chart_table
from llmbench.reports.html.figure import keys
from llmbench.reports.html.page import render
from llmbench.reports.markdown import render_markdown
from llmbench.reports.model import Cell
from llmbench.reports.repeats_model import PooledQuantity, RepeatRun, RepeatsTable
from llmbench.reports.repeats_report import repeats_report

SPEED = PooledQuantity("output_throughput", "window", "tokens/s", "higher", 2, 500, 20, 480, 520)
TTFT = PooledQuantity("ttft", "p99", "s", "lower", 2, 0.2, 0.1, 0.0, 1.1)
COUNT = PooledQuantity("counters", "preemptions", "preemptions", "lower", 2, 0.0, 0.0, 0.0, 0.0)


def _run(name: str, speed: float, ttft_s: float | None, failure: str = "") -> RepeatRun:
    values = {SPEED.name: speed, TTFT.name: ttft_s, "ttft.p50": ttft_s, COUNT.name: 0.0}
    return RepeatRun(name, 7, name, "2026-01-02T03:04:05+00:00", 12.0, values, failure)


TABLE = RepeatsTable(
    "nightly",
    "paged + awq",
    "bundled",
    "40 requests of quick",
    "llmbench run --repeats 2",
    (_run("repeat-1", 486, 0.1), _run("repeat-2", 514, 0.3)),
    (SPEED, TTFT, COUNT),
    0.95,
)


def test_the_answer_has_its_interval() -> None:
    report = repeats_report(TABLE)
    assert report.verdict == (
        "paged + awq over 2 runs: output throughput 500 tokens/s [480, 520]; "
        "TTFT p99 200 ms [0, 1\u202f100]."
    )
    assert report.badge.word == "Every repeat counts"
    assert "which requests were drawn and how this machine differed" in report.statements[0]
    first = report.figures[0]
    assert (first.value, first.unit, first.detail) == (
        "500",
        "tokens/s",
        "480 to 520; runs ±\u00a04 %",
    )


def test_where_too_few_requests_carry_a_p99_the_answer_is_a_median() -> None:
    median = replace(TTFT, stat="p50")
    report = repeats_report(replace(TABLE, quantities=(SPEED, median)))
    assert "TTFT p50 200 ms" in report.verdict
    both = repeats_report(replace(TABLE, quantities=(SPEED, median, TTFT)))
    assert "TTFT p99 200 ms" in both.verdict
    assert "TTFT p50" not in both.verdict


def test_a_repeat_that_does_not_count_is_named_first_and_in_its_row() -> None:
    failed = _run("repeat-3", 90, None, "2 of 40 requests failed")
    report = repeats_report(replace(TABLE, runs=(*TABLE.runs, failed)))
    assert report.badge.word == "Repeats left out"
    assert report.notes[0].text == "repeat-3 does not count: 2 of 40 requests failed."
    (rows,) = [one for section in report.sections for one in section.parts if one.id == "repeats"]
    assert rows.rows[2][0] == Cell("repeat-3", link="repeat-3/report.html")  # pyright: ignore[reportAttributeAccessIssue]
    assert rows.rows[2][1] == Cell("no: 2 of 40 requests failed", "caution")  # pyright: ignore[reportAttributeAccessIssue]
    # Nor is it among the dots.
    assert len(chart_table(report.charts[0]).rows) == 2 * 3


def test_without_a_run_that_counts_there_is_no_answer() -> None:
    runs = tuple(replace(one, failure="interrupted") for one in TABLE.runs)
    report = repeats_report(replace(TABLE, runs=runs, quantities=()))
    assert report.badge.tone == "bad"
    assert report.verdict == "No repeat is a run that counts."
    assert {note.tone for note in report.notes} == {"bad"}
    assert report.charts == ()
    # No heading without a row, and no terms of numbers that are not there.
    assert [section.title for section in report.sections] == ["The runs"]
    page = render(repeats_report(replace(TABLE, runs=runs, quantities=())))
    assert "Nothing to show." not in page
    assert page.count("no: interrupted") == 2


def test_one_run_that_counts_has_no_interval() -> None:
    alone = replace(TTFT, runs=1, std=None, low=None, high=None)
    report = repeats_report(replace(TABLE, runs=TABLE.runs[:1], quantities=(alone,)))
    assert report.verdict == "paged + awq in one run: TTFT p99 200 ms."
    assert report.statements == ()
    assert report.figures[0].detail == "one run"
    assert report.charts == ()


def test_the_chart_holds_runs_and_interval_as_shares_of_the_mean() -> None:
    """Of preemptions, which nobody counted, there is no share."""
    (chart,) = repeats_report(TABLE).charts
    interval, dots = chart.series
    assert chart.panels[0].y.categories == ("Output throughput", "TTFT p99")
    assert (interval.low, interval.high) == (pytest.approx((96, 0)), pytest.approx((104, 550)))
    assert dots.x == pytest.approx((97.2, 102.8, 50, 150))
    assert "TTFT p99 differs most" in chart.reading
    assert [(key.name, key.mark) for key in keys(chart)] == [
        ("Mean, with its interval", "interval"),
        ("A run", "point"),
    ]


def test_a_caution_of_simulated_runs_is_seen_in_the_badge() -> None:
    simulated = replace(TABLE, premise="Simulated.", notes=())
    assert repeats_report(simulated).badge.word == "Simulated"
    few = replace(simulated, notes=("too few",))
    assert repeats_report(few).badge.word == "Simulated, with cautions"


@pytest.mark.parametrize(
    ("change", "said", "unsaid"),
    [
        ({"premise": "Simulated."}, "not how wrong the cost model is", "this machine"),
        ({"same": True}, "it covers how this machine differed", "which requests"),
    ],
)
def test_what_the_interval_covers(change: dict, said: str, unsaid: str) -> None:
    table = replace(TABLE, premise=change.get("premise", ""))
    if change.get("same"):
        table = replace(table, runs=tuple(replace(one, fingerprint="f") for one in TABLE.runs))
    (statement,) = repeats_report(table).statements
    assert said in statement
    assert unsaid not in statement


def test_pages_lead_to_each_repeat_and_hostile_text_stays_text() -> None:
    hostile = _run("repeat-3", 90, None, "<script>alert(1)</script>")
    table = replace(TABLE, label="<b>x", runs=(*TABLE.runs, hostile))
    report = repeats_report(table)
    page, markdown = render(report), render_markdown(report)
    assert '<a href="repeat-2/report.html">repeat-2</a>' in page
    assert "<script>alert" not in page
    assert "[repeat-2](repeat-2/report.html)" in markdown
    assert "<script>" not in markdown
    assert "### Over all repeats that count" in markdown


def test_a_rate_without_a_steady_window_is_said_to_be_of_the_whole_run() -> None:
    whole = replace(TABLE, quantities=(replace(SPEED, over="whole run"), TTFT, COUNT))
    assert "output throughput, whole run 500 tokens/s" in repeats_report(whole).verdict
