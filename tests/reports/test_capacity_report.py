"""What a report says of capacities: the answer first, and every rate that was tried."""

from __future__ import annotations

import math
from dataclasses import replace

from llmbench.reports.capacity_model import Capacities, Capacity, RateTried
from llmbench.reports.capacity_report import capacity_report
from llmbench.reports.html.page import render
from llmbench.reports.markdown import render_markdown
from llmbench.reports.model import Report, Table


def engine(label: str, capacity_per_s: float, page: str = "report.html") -> Capacity:
    trials = (RateTried(1.0, 1.0), RateTried(2.0, 0.5), RateTried(math.inf, 0.25))
    return Capacity(
        label,
        f"holds at {label}",
        f"up to {capacity_per_s:g}/s",
        "95 %: 1 to 2",
        capacity_per_s,
        "1 to 2",
        "requests",
        trials,
        ("ttft",),
        (),
        page,
    )


def told(*engines: Capacity) -> Capacities:
    return Capacities(
        settings=("llama-3-8b", "qwen"),
        engines=engines,
        asked="it all",
        target=0.99,
        orders=("a is ahead",),
        adjustments=(),
        same="Same requests.",
        error="far off",
        command="c",
    )


def rates_of(report: Report) -> Table:
    (rates,) = (part for part in report.parts if isinstance(part, Table) and part.id == "rates")
    return rates


def test_the_verdict_is_short_and_says_once_what_holds() -> None:
    """Known wrong here: the whole answer of each engine, twelve lines of heading for two."""
    report = capacity_report(told(engine("a", 1.0), engine("b", 2.0), engine("c", 1.0)))
    assert report.verdict == "a and c hold it all up to 1/s; b holds it up to 2/s."
    assert report.statements[:3] == ("a holds at a.", "b holds at b.", "c holds at c.")


def test_what_is_not_shown_is_marked_wherever_it_stands() -> None:
    """Known wrong here: a plain "2" in the table for the capacity of a burst."""
    report = capacity_report(
        told(replace(engine("a", 1.0), unshown="in a burst"), engine("b", 2.0))
    )
    assert [one.detail for one in report.figures] == [
        "a; 95\u00a0%: 1 to 2; in a burst",
        "b; 95\u00a0%: 1 to 2",
    ]
    (table,) = (part for part in report.parts if isinstance(part, Table) and part.id == "together")
    assert [row[1].text for row in table.rows] == ["1\u00a0?", "2"]
    assert table.note.endswith(" ? in a burst.")


def test_each_rate_is_marked() -> None:
    report = capacity_report(told(engine("a", 1.0), engine("b", math.inf)))
    assert [figure.value for figure in report.figures] == ["1", "any"]
    rates = rates_of(report)
    assert [column.title for column in rates.columns] == [
        *("Engine", "Rate (requests/s)", "Kept the SLO", "Outcome")
    ]
    assert [[cell.text for cell in row] for row in rates.rows[:3]] == [
        ["a", "1", "100 %", "holds"],
        ["a", "2", "50 %", "does not hold"],
        ["a", "all at once", "25 %", "does not hold"],
    ]
    (chart,) = report.charts
    assert [series.x for series in chart.series] == [(1.0, 2.0)] * 2
    assert chart.series[0].y == (100.0, 50.0)


def test_rates_that_would_be_written_alike_have_a_digit_more() -> None:
    trials = (RateTried(20.0, 1.0), RateTried(22.09, 0.9), RateTried(22.14, 0.8))
    rates = rates_of(capacity_report(told(replace(engine("a", 20.0), trials=trials))))
    assert [row[1].text for row in rates.rows] == ["20", "22.09", "22.14"]


def test_of_one_engine_the_answer_is_not_said_twice() -> None:
    report = capacity_report(told(engine("a", 1.0)))
    assert report.verdict == "a holds it all up to 1/s."
    assert report.statements[0] == "95 %: 1 to 2."


def test_a_caution_is_seen_in_the_badge() -> None:
    assert capacity_report(told(engine("a", 1.0))).badge.word == "Simulated"
    few = replace(engine("a", 1.0), notes=("too few",))
    assert capacity_report(told(few)).badge.word == "Simulated, with cautions"


def test_both_renderers_take_it_and_lead_to_the_runs() -> None:
    capacities = told(engine("a", 1.0, "a/report.html"), engine("b", 0.0, ""))
    report = capacity_report(capacities)
    assert "[a](a/report.html)" in render_markdown(report)
    page = render(report)
    assert 'href="a/report.html"' in page
    assert "far off" in page
