"""A frontier's report: the first screen, the tables, the charts, every renderer."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from llmbench.harness.rendering import frontier_reports
from llmbench.reports.chart_table import chart_table
from llmbench.reports.frontier_charts import trade_off
from llmbench.reports.frontier_model import (
    KL,
    PERPLEXITY,
    THROUGHPUT,
    Crossing,
    FrontierClaim,
    MethodPair,
)
from llmbench.reports.frontier_report import frontier_report
from llmbench.reports.frontier_tables import crossing_text, methods_table, pairs_table
from llmbench.reports.html.figure import figure
from llmbench.reports.html.page import render
from llmbench.reports.markdown import render_markdown
from llmbench.reports.model import Axis, Panel, Ratio, Report, Series, Table
from llmbench.reports.named_points import crowded, sides
from llmbench.reports.plots.figure import save_charts

from .frontiers import SENTENCE, frontier


@pytest.fixture(scope="module")
def report() -> Report:
    return frontier_report(frontier())


def _rows(report: Report, name: str) -> dict[str, list[str]]:
    parts = [*report.overview, *(part for section in report.sections for part in section.parts)]
    found = next(part for part in parts if isinstance(part, Table) and part.id == name)
    return {row[0].text: [cell.text for cell in row[1:]] for row in found.rows}


def test_the_first_screen_says_who_is_a_choice_and_where_it_turns(report: Report) -> None:
    assert report.verdict == (
        "2 of 3 methods are on the frontier of quality, speed and memory: none and awq; "
        "fp8 is dominated by none."
    )
    assert report.statements == (
        "awq against none: 1.50× the output tokens/s, 0.30× the weight bytes, KL 0.0310 nats "
        "with the same next token for 92 %, perplexity 3.00 % higher.",
        "fp8 (emulated) against none: 0.20× the output tokens/s, 1.05× the weight bytes, KL "
        "0.00200 nats with the same next token for 98 %, perplexity 0.500 % lower "
        "(not decided).",
        SENTENCE,
        "“INT4 weights double throughput”: refuted here for awq.",
        "“FP8 is free”: in part here for fp8.",
    )
    figures = {one.label: (one.value, one.detail) for one in report.figures}
    assert figures["Fastest"] == ("1.50×", "awq, 150 tokens/s")
    assert figures["Closest to unquantised"] == ("0.00200", "fp8, same next token 98 %")
    assert figures["Smallest weights"] == ("0.30×", "awq, 60 MiB")
    assert figures["awq wins up to batch"] == ("21", "by the roofline more than 64")
    assert report.badge.word == "Methods left out"
    assert frontier_report(frontier(whole=True)).badge.word == "Every method measured"
    assert [note.text for note in report.notes] == [
        "One run of each.",
        "int8: not measured: <no> memory.",
    ]


def test_of_many_methods_the_first_screen_leaves_each_to_the_tiles_and_the_table() -> None:
    found = frontier()
    more = [replace(found.methods[1], name=name) for name in ("gptq", "rtn", "mxfp4")]
    report = frontier_report(replace(found, methods=(*found.methods, *more)))
    assert report.statements == (
        "“INT4 weights double throughput”: refuted here for awq.",
        "“FP8 is free”: in part here for fp8.",
    )
    assert "awq wins up to batch" in {one.label for one in report.figures}
    assert {"awq", "gptq", "rtn", "mxfp4"} <= set(_rows(report, "methods"))


def test_where_no_method_dominates_the_verdict_says_what_each_is_chosen_for() -> None:
    two = replace(frontier(), methods=frontier().methods[:2], claims=(), steps=None)
    report = frontier_report(two)
    assert report.verdict == (
        "No method dominates another in quality, speed and memory; awq against none: 1.50× the "
        "output tokens/s, 0.30× the weight bytes, KL 0.0310 nats with the same next token for "
        "92 %, perplexity 3.00 % higher."
    )
    assert report.statements == (), "nothing is said twice"
    none, awq = two.methods
    unsure = replace(awq, throughput_ratio=Ratio(1.5, 0.4, 3.0, "inconclusive"))
    said = frontier_report(replace(two, methods=(none, unsure))).verdict
    assert "1.50× the output tokens/s (not decided), 0.30× the weight bytes" in said
    many = [replace(awq, name=f"m{at}") for at in range(3)]
    report = frontier_report(replace(two, methods=(none, *many)))
    assert report.verdict == "No method dominates another in quality, speed and memory."
    assert len(report.statements) == 3
    assert frontier_report(replace(two, methods=(none,))).verdict == (
        "Only none has a run that counts."
    )


def test_the_unquantised_model_may_be_the_fastest_itself() -> None:
    slow = [
        replace(
            one, output_tokens_per_s=50.0, ratios={**(one.ratios or {}), "output_tokens_per_s": 0.5}
        )
        if one.name == "awq"
        else one
        for one in frontier().methods
    ]
    figures = frontier_report(replace(frontier(), methods=tuple(slow), pairs=())).figures
    assert (figures[0].value, figures[0].detail) == ("1.00×", "none, 100 tokens/s")
    unsure = MethodPair("none", "awq", {THROUGHPUT: Ratio(0.5, 0.2, 1.3, "inconclusive")})
    figures = frontier_report(replace(frontier(), methods=tuple(slow), pairs=(unsure,))).figures
    assert figures[0].detail == "none, 100 tokens/s; not told apart from awq"


def test_every_method_has_its_figures_beside_the_baselines(report: Report) -> None:
    rows = _rows(report, "methods")
    assert rows["none"] == [
        *("✓ on it", "100 (1.00×)", "200 MiB (1.00×)", "20 ms", "0", "100 %", "20 (1.00×)"),
    ]
    assert rows["awq"][1:3] == ["150 (1.50×)", "60 MiB (0.30×)"]
    assert rows["fp8 (emulated)"][0] == "dominated by none"
    assert rows["int8"][:2] == ["not measured: <no> memory", "n/a"]


def test_steps_are_held_against_the_baseline_and_the_floor(report: Report) -> None:
    rows = _rows(report, "steps")
    assert rows["decode × 1"] == ["10 (1.00×), 90.0 %", "4 (2.50×), 75 %"]
    assert rows["prefill of 512"] == ["400 (1.00×)", "500 (0.80×)"]
    assert rows["bandwidth beside it, GB/s"] == ["20 / 19", "18 / 20"]
    assert _rows(report, "turning-points")["awq against none"][:3] == ["21", "more than 64", "n/a"]


def test_a_claim_about_several_methods_is_one_line() -> None:
    double = FrontierClaim("INT4 weights double throughput", "refuted", "", "gptq")
    said = double, replace(double, verdict="confirmed", method="awq"), replace(double, method="rtn")
    both = FrontierClaim("AWQ beats GPTQ", "confirmed", "")
    report = frontier_report(replace(frontier(steps=False), claims=(*said, both)))
    assert report.statements[-2:] == (
        "“INT4 weights double throughput”: refuted here for gptq and rtn, confirmed for awq.",
        "“AWQ beats GPTQ”: confirmed here.",
    )


def test_methods_that_turn_alike_have_one_figure() -> None:
    found = frontier()
    assert found.steps is not None
    (point,) = [one for one in found.steps.turning_points if one.against == found.baseline]
    points = (point, replace(point, method="awq+a8"))
    alike = replace(found, steps=replace(found.steps, turning_points=points))
    figures = [one.label for one in frontier_report(alike).figures]
    assert figures[-1] == "awq and awq+a8 win up to batch"


def test_a_turning_point_is_no_figure_where_passes_disagree_and_tells_where_it_lost() -> None:
    found = frontier()
    assert found.steps is not None
    (point,) = [one for one in found.steps.turning_points if one.against == found.baseline]
    lost = replace(point, measured=replace(point.measured, lost_at=(4, 8)))
    for steady, said in ((True, ["not at 4 and 8; by the roofline more than 64"]), (False, [])):
        steps = replace(found.steps, turning_points=(replace(lost, steady=steady),))
        figures = frontier_report(replace(found, steps=steps)).figures
        assert [one.detail for one in figures if "up to batch" in one.label] == said


def test_a_frontier_that_is_not_decided_has_cautions() -> None:
    found = frontier(whole=True)
    open_to = [
        replace(one, dominated_by=(), undecided_by=("none",)) if one.name == "fp8" else one
        for one in found.methods
    ]
    badge = frontier_report(replace(found, methods=tuple(open_to))).badge
    assert (badge.word, badge.tone) == ("Every method measured, with cautions", "caution")


def test_the_table_of_methods_stands_on_the_first_screen_and_says_what_rates_are_over(
    report: Report,
) -> None:
    assert [part.id for part in report.overview] == ["methods", "trade-off"]
    found = frontier()
    assert found.comparison is not None
    assert "Tokens/s: of output, over the steady window." in methods_table(found).note
    whole = replace(found, comparison=replace(found.comparison, rates_over="whole run"))
    assert "Tokens/s: of output, over the whole run." in methods_table(whole).note
    assert "Tokens/s: of output. " in methods_table(replace(found, comparison=None)).note


def test_without_a_sweep_nothing_is_said_of_batch_sizes() -> None:
    report = frontier_report(frontier(steps=False))
    assert "turning" not in {section.id for section in report.sections}
    assert not any("batch" in text for text in report.statements)


@pytest.mark.parametrize(
    ("crossing", "text"),
    [
        (None, "n/a"),
        (Crossing("never"), "never wins"),
        (Crossing("at", 2.718), "2.7"),
        (Crossing("at", 23.4), "23"),
        (Crossing("beyond", 64.0), "more than 64"),
    ],
)
def test_a_turning_point_is_a_batch_size(crossing: Crossing | None, text: str) -> None:
    assert crossing_text(crossing) == text


def test_the_trade_off_shows_every_method_that_counts_and_its_numbers(report: Report) -> None:
    chart = next(one for one in report.charts if one.id == "trade-off")
    assert [series.labels for series in chart.series] == [("none", "awq"), ("fp8",)] * 2
    numbers = [[cell.text for cell in row] for row in chart_table(chart).rows]
    assert numbers == [
        ["fp8", "20", "0.00200", "210"],
        ["none", "100", "0", "200"],
        ["awq", "150", "0.0310", "60"],
    ]
    drawn = figure(chart)["data"][0]
    assert drawn["mode"] == "markers+text"
    assert drawn["text"] == ["none", "awq"]


def test_a_line_of_speed_ups_has_the_baselines_as_its_guide(report: Report) -> None:
    chart = next(one for one in report.charts if one.id == "speed-up")
    assert [one.name for one in chart.series] == ["awq"]
    assert chart.series[0].y == pytest.approx((2.5, 1.5, 0.625))
    assert chart.panels[0].guides[0].value == 1.0
    assert figure(chart)["data"][0]["mode"] == "lines+markers"


def test_names_of_neighbours_do_not_meet() -> None:
    points = Series("", "on_frontier", "named", (4.0, 4.1, 4.2, 9.0), (1.0,) * 4, tuple("abcd"))
    placed = sides(Axis("x", high=10.0), Panel(Axis("y"), (points,)))
    assert list(placed.values()) == ["left", "above", "right", "right"]
    # A name to the left would run into that of a point farther away.
    pair = Series("", "on_frontier", "named", (2.0, 5.0, 5.0), (1.0, 1.0, 1.05), tuple("abc"))
    placed = sides(Axis("x", high=10.0), Panel(Axis("y"), (pair,)))
    assert list(placed.values()) == ["right", "below", "right"]
    # A name beside a point a little higher takes the room above the middle one.
    higher = replace(points, x=(*points.x, 4.15), y=(*points.y, 1.2), labels=tuple("abcde"))
    placed = sides(Axis("x", high=10.0), Panel(Axis("y", high=1.5), (higher,)))
    assert placed[4.1, 1.0] == "below"
    assert placed[4.15, 1.2] == "right"
    # Beside the axis there is no room to the left.
    early = replace(points, x=(1.0, 1.1, 1.2, 9.0))
    placed = sides(Axis("x", high=10.0), Panel(Axis("y"), (early,)))
    assert list(placed.values()) == ["above", "below", "right", "right"]


def test_the_name_of_the_fastest_is_not_cut() -> None:
    """Known wrong here: "awq+a8+w8a8-hea…". On a page of 1 200 pixels the axis is 355 wide, it
    takes 127 beside a gap of 8."""
    none, awq, _ = frontier(whole=True).methods
    longest = replace(awq, name="awq+a8+w8a8-head")
    chart = trade_off(replace(frontier(whole=True), methods=(none, longest)))
    assert chart is not None
    assert chart.x.high is not None
    assert (1 - 150.0 / chart.x.high) * 355 >= 127 + 8


def test_more_neighbours_than_sides_are_too_many_to_name() -> None:
    def panel(count: int) -> Panel:
        x = tuple(4 + at / 10 for at in range(count))
        return Panel(Axis("y"), (Series("", "run_1", "named", x, (1.0,) * count, ("a",) * count),))

    assert not crowded(Axis("x", high=10.0), panel(3))
    assert crowded(Axis("x", high=10.0), panel(4))
    apart = Series("", "on_frontier", "named", (1.0, 1.1), (1.0, 9.0), ("a", "b"))
    assert set(sides(Axis("x"), Panel(Axis("y"), (apart,))).values()) == {"right"}


def test_every_renderer_takes_it(tmp_path: Path) -> None:
    page = render(frontier_report(frontier()))
    assert "4-bit &lt;AWQ&gt;" in page
    assert "<AWQ>" not in page
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids)), "scripts find the page's data by its ids"
    markdown = render_markdown(frontier_report(frontier()))
    for title in ("Every method", "What people say", "Where 4 bits stop winning", "Task scores"):
        assert f"### {title}" in markdown
    assert "4\u202f094" in markdown or "4 094 tokens of held-out text, windows" in markdown
    files = save_charts(frontier_report(frontier()).charts, tmp_path, ["png"])
    assert [path.name for path in files] == ["trade-off.png", "speed-up.png"]
    written = frontier_reports(frontier())
    assert set(written) == {"frontier.json", "frontier.html", "frontier.md"}
    assert json.loads(written["frontier.json"])["methods"][3]["bits"] is None


def test_who_is_on_it_is_said_no_surer_than_it_is() -> None:
    """Of two methods that no interval tells apart neither is a choice, and neither is none."""
    whole = frontier(whole=True)
    none, awq, fp8 = whole.methods
    gptq = replace(awq, name="gptq", undecided_by=("awq",))
    both = replace(
        whole, methods=(none, replace(awq, undecided_by=("gptq", "fp8")), gptq, fp8), pairs=()
    )
    assert frontier_report(both).verdict == (
        "1 of 4 methods is on the frontier of quality, speed and memory: none; fp8 is dominated by "
        "none; not decided for awq and gptq."
    )
    places = [row[1].text for row in methods_table(both).rows]
    assert places == [
        "✓ on it",
        "? not decided beside gptq and fp8",
        "? not decided beside awq",
        "dominated by none",
    ]
    more = [replace(none, name=f"method-{at}") for at in range(5)]
    off = [replace(fp8, name=f"off-{at}", dominated_by=("none", "awq", "gptq")) for at in range(3)]
    many = replace(both, methods=(*both.methods, *more, *off, replace(gptq, name="rtn")))
    assert frontier_report(many).verdict == (
        "6 of 13 methods are on the frontier of quality, speed and memory; 4 are dominated; "
        "not decided for 3."
    ), "who and beside whom is in the table"
    alone = replace(both, methods=(replace(awq, undecided_by=("gptq",)), gptq))
    assert frontier_report(alone).verdict.startswith("No method is on the frontier of quality,")
    chart = trade_off(both)
    assert chart is not None
    assert [one.name for one in chart.series[:2]] == ["On the frontier or not decided", "Dominated"]
    assert chart.series[0].labels == ("none", "awq", "gptq")


def test_the_closest_names_whom_it_is_not_told_apart_from() -> None:
    whole = frontier(whole=True)
    by_title = {one.label: one.detail for one in frontier_report(whole).figures}
    assert by_title["Closest to unquantised"] == "fp8, same next token 98 %"
    unsure = MethodPair("awq", "fp8", {KL: Ratio(0.065, 0.001, 4.0, "inconclusive")})
    figures = frontier_report(replace(whole, pairs=(unsure,))).figures
    by_title = {one.label: one.detail for one in figures}
    assert by_title["Closest to unquantised"].endswith("; not told apart from awq")


def test_every_two_methods_stand_beside_each_other_with_intervals() -> None:
    table = pairs_table(frontier())
    assert table is not None
    assert [[cell.text for cell in row] for row in table.rows] == [
        ["awq to none", "—", "—", "▲ better 1.50× (1.40 to 1.60)"],
        ["fp8 to awq", "▲ better 0.065× (0.050 to 0.080)", "—", "—"],
    ]


def test_what_no_sentence_is_about_is_marked_as_by_itself() -> None:
    whole = frontier(whole=True)
    table = pairs_table(whole)
    assert table is not None
    assert "for all together:" in table.note
    alone = MethodPair("awq", "fp8", {PERPLEXITY: Ratio(1.01, 1.005, 1.015, "same", alone=True)})
    table = pairs_table(replace(whole, pairs=(alone,)))
    assert table is not None
    assert "for all together but those marked alone, which no sentence is about:" in table.note
    assert table.rows[0][2].text.endswith(" alone")
