"""What is said about two sides that took turns."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from typing import Any

import pytest
from llmbench.reports.ab_model import (
    Ab,
    AbAnswer,
    AbMetric,
    AbPair,
    AbSide,
    AbVerdict,
    DroppedQuad,
)
from llmbench.reports.ab_report import ab_report
from llmbench.reports.ab_tables import change_text, ratio_text
from llmbench.reports.chart_table import chart_table
from llmbench.reports.html.figure import figure, keys
from llmbench.reports.html.page import render
from llmbench.reports.model import Chart, Report, Table
from llmbench.reports.plots.figure import draw

SIDE = AbSide("paged", "0.1.0", "--engine paged", "", "1a2b3c4d5e", {"device": "cpu", "seed": 3})
RATE = AbMetric("output_throughput", "run", "tokens/s", "higher", 0.05, 0.1, None)
TTFT = AbMetric("ttft", "mean", "s", "lower", 0.05, 0.1, None)
TPOT = AbMetric("tpot", "mean", "s", "lower", 0.05, 0.1, None)


def _judged(metric: AbMetric, verdict: AbVerdict, ratio: float = 1.0, **more: Any) -> AbMetric:
    values = {"a": 0.0121, "b": 0.0121 * ratio, "low": ratio - 0.02, "high": ratio + 0.02, **more}
    answer = {"pairs": 16, "detectable": 0.132, "pairs_needed": 186, **values}
    return replace(metric, answer=AbAnswer(verdict=verdict, ratio=ratio, **answer))


def _pair(place: int, b: float = 1.1, *, a: float = 1.0, counts: bool = True) -> AbPair:
    def values(factor: float) -> dict[str, float]:
        times = {one.name: 0.01 * factor for one in (TTFT, TPOT)}
        return {RATE.name: 100 / factor, **times}

    first = "a" if place % 4 in (0, 1) else "b"
    return AbPair(place, first, counts, values(a), values(b))


def _ab(*metrics: AbMetric, pairs: int | tuple[AbPair, ...] = 16, **more: Any) -> Ab:
    """pairs: those, or so many that are all alike."""
    if isinstance(pairs, int):
        pairs = tuple(map(_pair, range(1, pairs + 1)))
    told: dict[str, Any] = {
        "a": SIDE,
        "b": replace(SIDE, options="--engine paged --threads 1", config={"device": "cpu"}),
        "metrics": metrics,
        "pairs": pairs,
        "dropped": (),
        "num_requests": 35,
        "stopped": "every question is answered",
        "failure": "",
        "idle_share": 0.01,
        "error_rate": 0.05,
        "cautions": (),
        "seed": 7,
        "coin": 5,
        "command": "llmbench ab",
        "created_at": "2026-01-02T03:04:05+00:00",
        "environment": {"cpu": {"model": "A processor", "usable_cores": 2}, "gpus": []},
    }
    return Ab(**{**told, **more})


def _table(report: Report, name: str) -> list[list[str]]:
    (found,) = (one for one in report.parts if isinstance(one, Table) and one.id == name)
    return [[cell.text.replace("\u00a0", " ") for cell in row] for row in found.rows]


def _chart(report: Report, name: str) -> Chart:
    (found,) = (one for one in report.charts if one.id == name)
    return found


@pytest.mark.parametrize(
    ("metrics", "badge", "said"),
    [
        (
            (_judged(RATE, "passed"), _judged(TTFT, "regressed", 1.107), _judged(TPOT, "improved")),
            "Regressed",
            "B is worse than A by more than the 5 % allowed: TTFT mean +10.7 % (+8.7 to +12.7 %). "
            "Passed: output throughput. Improved: TPOT mean.",
        ),
        (
            (_judged(RATE, "inconclusive", 0.95), _judged(TTFT, "regressed", 1.2)),
            "Regressed",
            "B is worse than A by more than the 5 % allowed: TTFT mean +20.0 % (+18.0 to +22.0 %). "
            "Not decided: output throughput.",
        ),
        (
            (_judged(RATE, "inconclusive", 0.95), _judged(TPOT, "improved", 0.9)),
            "Inconclusive",
            "Not decided whether B is worse than A by more than the 5 % allowed: output throughput "
            "−5.0 % (−7.0 to −3.0 %). Improved: TPOT mean.",
        ),
        (
            (_judged(RATE, "passed"), _judged(replace(TPOT, allowed=0.03), "passed")),
            "Passed",
            "B is not worse than A by more than is allowed: output throughput 0.0 % (−2.0 to "
            "+2.0 %); TPOT mean 0.0 % (−2.0 to +2.0 %).",
        ),
        (
            (_judged(RATE, "passed"), _judged(TPOT, "improved", 0.9)),
            "Passed",
            "B is not worse than A by more than the 5 % allowed: output throughput 0.0 % (−2.0 to "
            "+2.0 %). It is better in TPOT mean −10.0 % (−12.0 to −8.0 %).",
        ),
        (
            (_judged(TPOT, "improved", 0.9),),
            "Improved",
            "B is better than A: TPOT mean −10.0 % (−12.0 to −8.0 %).",
        ),
    ],
)
def test_the_verdict_is_the_worst_with_its_interval(
    metrics: tuple[AbMetric, ...], badge: str, said: str
) -> None:
    report = ab_report(_ab(*metrics))
    assert report.badge.word == badge
    assert report.verdict.replace("\u00a0", " ") == said
    assert report.statements == (
        "16 pairs of trials of 35 requests, the sides taking turns: every question is answered.",
        "In brackets, the interval that a verdict goes by: the chance that any verdict here is "
        "wrong is at most 5 %.",
    )


def test_the_first_screen_has_every_verdict_and_what_it_rests_on() -> None:
    few = _judged(TTFT, "inconclusive", 1.2, low=None, high=None)
    assert few.answer is not None
    few = replace(few, answer=replace(few.answer, detectable=None, pairs_needed=None))
    report = ab_report(_ab(_judged(RATE, "regressed", 0.8, a=200.0, b=160.0), few))
    assert [part.id for part in report.overview] == ["verdicts", "ratios"]
    assert _table(report, "verdicts") == [
        [
            *("Output throughput", "▼ regressed", "0.800", "0.780 to 0.820", "≥ 0.95"),
            *("200 tokens/s", "160 tokens/s", "16", "13.2 %", "186"),
        ],
        [
            *("TTFT mean", "? inconclusive", "1.200", "too few pairs", "≤ 1.05"),
            *("12.1 ms", "14.5 ms", "16", "nothing", "> 1000"),
        ],
    ]


def test_the_forest_has_a_line_at_one_and_the_band_of_what_is_allowed() -> None:
    """Of a rate it is below 1, of a time above."""
    few = _judged(TTFT, "inconclusive", 1.2, low=None, high=None)
    ab = _ab(_judged(RATE, "regressed", 0.8), few, _judged(TPOT, "improved", 0.7))
    forest = _chart(ab_report(ab), "ratios")
    (panel,) = forest.panels
    assert [(one.axis, one.value) for one in panel.guides] == [("x", 1.0)]
    assert [one.x for one in panel.zones] == [(0.95, 1.0), (1.0, 1.05), (1.0, 1.05)]
    assert [one.y for one in panel.zones] == [(-0.4, 0.4), (0.6, 1.4), (1.6, 2.4)]
    assert [(one.name, one.x, one.y) for one in panel.series] == [
        ("Regressed", (0.8,), (0.0,)),
        ("Inconclusive", (1.2,), (1.0,)),
        ("Passed or improved", (0.7,), (2.0,)),
    ]
    assert panel.series[0].high == (pytest.approx(0.82),)
    # An interval that has no end is none.
    assert all(math.isnan(one) for one in (*panel.series[1].low, *panel.series[1].high))
    assert [key.name for key in keys(forest)][-1] == "Worse, but allowed"
    assert [cell.text for cell in chart_table(forest).rows[1]] == [
        *("TTFT mean", "1.200", "n/a", "n/a", "1.05")
    ]


def test_every_pair_is_drawn_in_the_order_of_turns() -> None:
    chart = _chart(ab_report(_ab(_judged(TPOT, "passed"))), "pairs-tpot-mean")
    ratios, levels = chart.panels
    a_first, b_first = ratios.series
    assert a_first.x == (1.0, 4.0, 5.0, 8.0, 9.0, 12.0, 13.0, 16.0)
    assert sorted((*a_first.x, *b_first.x)) == [float(place) for place in range(1, 17)]
    assert (*a_first.y, *b_first.y) == pytest.approx([1.1] * 16)
    assert a_first.labels[0] == "pair 1: A 10 ms, B 11.0 ms"
    assert ratios.zones[0].y == (1.0, 1.05)
    assert [one.name for one in levels.series] == ["A", "B"]
    assert levels.series[0].y == (1.0,) * 16
    assert levels.series[1].y == pytest.approx([1.1] * 16)
    assert [[cell.text for cell in row] for row in chart_table(chart).rows][:2] == [
        ["1", "A", "10", "11.0", "1.100", "yes"],
        ["2", "B", "10", "11.0", "1.100", "yes"],
    ]
    assert len(chart_table(chart).rows) == 16


def test_a_machine_that_drifts_is_told_from_a_side_that_does() -> None:
    slow = [_pair(place, 1.1, a=1.0) for place in range(1, 9)]
    slow += [_pair(place, 1.32, a=1.2) for place in range(9, 17)]
    report = ab_report(_ab(_judged(TPOT, "passed"), pairs=tuple(slow)))
    chart = _chart(report, "pairs-tpot-mean")
    assert chart.reading.replace("\u00a0", " ") == (
        "The median pair is at 1.100: 1.100 in the first half of them, 1.100 in the second. A "
        "itself changed by +20.0 % between the two."
    )


def test_a_median_pair_that_lies_the_other_way_than_the_verdict_is_said_to() -> None:
    pairs = tuple(_pair(place, 1.1) for place in range(1, 9))
    chart = _chart(ab_report(_ab(_judged(TPOT, "passed", 0.99), pairs=pairs)), "pairs-tpot-mean")
    assert chart.reading.startswith(
        "The median pair is at 1.100, the other way than the 0.990 of all pairs that the verdict "
        "goes by: "
    )


def test_dropped_quads_are_marked_where_they_were_and_count_for_nothing() -> None:
    """Of one only a trial is left, of the other nothing."""
    aside = (_pair(3, 9.0, counts=False), replace(_pair(4, counts=False), b=None))
    counted = (_pair(1), _pair(2), _pair(7), _pair(8), _pair(9), _pair(10))
    why = "b: 2 of 35 requests failed"
    ab = _ab(
        _judged(TPOT, "passed"),
        pairs=(*counted[:2], *aside, *counted[2:]),
        dropped=(DroppedQuad(3, why), DroppedQuad(5, "a: no tokens")),
        cautions=("2 quads of trials were dropped whole",),
    )
    report = ab_report(ab)
    chart = _chart(report, "pairs-tpot-mean")
    for panel in chart.panels:
        assert [one.value for one in panel.guides if one.axis == "x"] == [3.5, 5.5]
    (left_out,) = (one for one in chart.series if one.role == "left_out")
    assert (left_out.x, left_out.y) == ((3.0,), (pytest.approx(9.0),))
    assert "where vertical lines are: pairs 3–4 and 5–6." in chart.reading
    assert "The median pair is at 1.100" in chart.reading
    assert _table(report, "dropped") == [
        ["3–4", "3 trials", why],
        ["5–6", "0 trials", "a: no tokens"],
    ]
    assert report.notes[0].text == "2 quads of trials were dropped whole."
    assert [cell.text for cell in chart_table(chart).rows[3]] == [
        *("4", "A", "10", "n/a", "n/a", "no")
    ]


@pytest.mark.parametrize(
    ("stopped", "badge", "said"),
    [("", "Partial", "the comparison was cut short"), ("time is up", "Invalid", "proves nothing")],
)
def test_without_a_verdict_the_reason_comes_first_and_the_pairs_stay(
    stopped: str, badge: str, said: str
) -> None:
    report = ab_report(_ab(RATE, TPOT, stopped=stopped, failure="b: its process ended"))
    assert report.badge.word == badge
    assert said in report.verdict
    assert (report.notes[0].text, report.notes[0].tone) == ("B: its process ended.", "bad")
    assert report.overview == ()
    assert [one.id for one in report.charts] == ["pairs-output-throughput-run", "pairs-tpot-mean"]
    assert ["Why it ended", stopped or "b: its process ended"] in _table(report, "how")


def test_one_that_was_cut_short_at_once_has_nothing_to_draw() -> None:
    ab = _ab(TPOT, pairs=0, stopped="", failure="interrupted")
    report = ab_report(ab)
    assert report.charts == ()
    assert [one.title for one in report.sections] == ["What was compared", "Glossary"]
    assert "Nothing to show." not in render(ab_report(ab))


def test_what_a_trial_that_was_lost_left_is_no_ratio() -> None:
    """No goodput at all: of nothing there is neither a ratio nor a logarithm."""
    nothing = _pair(2, counts=False)
    assert nothing.b is not None
    nothing = replace(nothing, b={**nothing.b, TPOT.name: 0.0})
    ab = _ab(TPOT, stopped="", failure="b: 0", pairs=(_pair(1), nothing))
    chart = _chart(ab_report(ab), "pairs-tpot-mean")
    assert {x for one in chart.panels[0].series for x in one.x} == {1.0}
    assert "1 pair" in chart.reading
    figure(chart)
    render(ab_report(ab))


def test_medians_that_lie_the_other_way_are_said_to() -> None:
    against = _judged(TPOT, "passed", 0.99, a=0.0121, b=0.0125)
    (note,) = ab_report(_ab(against)).notes
    assert note.text.startswith("The median trials of TPOT mean lie the other way than B / A")
    assert ab_report(_ab(_judged(TPOT, "passed", 0.99))).notes == ()


def test_both_sides_are_shown_with_what_differs() -> None:
    other = replace(SIDE, options="--engine paged --quant awq", tree="../b", commit="ffff+")
    other = replace(other, config={"device": "cpu", "seed": 3, "quant": "awq"})
    report = ab_report(_ab(_judged(TPOT, "passed"), b=other))
    assert report.subtitle == "A: --engine paged · B: --engine paged --quant awq from ../b"
    assert _table(report, "sides") == [
        ["Engine", "paged", "paged"],
        ["Options", "--engine paged", "≠ --engine paged --quant awq"],
        ["Source tree", "this llmbench, commit 1a2b3c4d5e", "≠ ../b, commit ffff+"],
        ["llmbench", "0.1.0", "0.1.0"],
        ["quant", "n/a", "≠ awq"],
    ]
    assert ["device", "cpu", "cpu"] in _table(report, "settings")
    how = dict(_table(report, "how"))
    assert how["Seed of the requests"] == "7"
    assert how["On"].endswith("A processor, 2 cores to use")
    assert ["cpu.model", "A processor"] in _table(report, "environment")
    assert ab_report(_ab(TPOT, b=replace(SIDE, label="orca"))).subtitle == "A: paged · B: orca"


def test_hostile_text_stays_text() -> None:
    hostile = "--engine <script>alert(1)</script><img src=x>"
    side = replace(SIDE, label=hostile, options=hostile, tree=hostile, config={hostile: hostile})
    ab = _ab(
        _judged(TPOT, "passed"),
        a=side,
        b=replace(side, options=f"{hostile} b"),
        pairs=8,
        dropped=(DroppedQuad(9, hostile),),
        cautions=(hostile,),
        command=hostile,
        environment={hostile: hostile},
    )
    for page in (
        render(ab_report(ab)),
        render(ab_report(replace(ab, failure=hostile, stopped=""))),
    ):
        assert "<script>alert" not in page
        assert "<img" not in page.partition("<script>")[0]
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_the_page_is_whole_and_its_figures_are_json() -> None:
    few = _judged(TTFT, "inconclusive", 1.2, low=None, high=None)
    page = render(ab_report(_ab(_judged(RATE, "regressed", 0.8), few)))
    found = re.search(r'<script type="application/json" id="figures">(.*?)</script>', page)
    assert found is not None

    def refused(name: str) -> float:
        raise ValueError(name)

    figures = json.loads(found[1], parse_constant=refused)
    assert set(figures) == {"ratios", "pairs-output-throughput-run", "pairs-ttft-mean"}
    assert page.count("<details") >= len(figures)  # each with its numbers
    assert "http://" not in page.partition("<script>")[0]


def test_its_charts_are_drawn_on_paper_too() -> None:
    ab = _ab(_judged(RATE, "regressed", 0.8), _judged(TPOT, "passed"))
    forest, *pairs = (draw(chart) for chart in ab_report(ab).charts)
    (axes,) = forest.axes
    assert axes.get_xscale() == "log"
    assert 1.0 in axes.get_xticks()
    _, named = axes.get_legend_handles_labels()
    assert named.count("Worse, but allowed") == 1
    assert all(axes.get_yscale() == "log" for one in pairs for axes in one.axes)


@pytest.mark.parametrize(
    ("ratio", "change", "text"),
    [
        (1.107, "+10.7", "1.107"),
        (0.9, "\u221210.0", "0.900"),
        (1.0004, "0.0", "1.000"),
        (0.9997, "0.0", "1.000"),
        (12.0, "+1100.0", "12"),
        (0.0, "\u2212100.0", "<0.01"),
    ],
)
def test_how_a_ratio_is_written(ratio: float, change: str, text: str) -> None:
    assert change_text(ratio) == change
    assert ratio_text(ratio) == text
