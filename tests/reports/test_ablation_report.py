"""A factorial's report: the first screen, the tables, the forest plots, both renderers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from llmbench.reports.ablation_model import AblationEffect, AblationResponse
from llmbench.reports.ablation_report import ablation_report
from llmbench.reports.html.figure import figure
from llmbench.reports.html.page import render
from llmbench.reports.markdown import render_markdown
from llmbench.reports.model import Chart, Report, Table
from llmbench.reports.palette import ROLES
from llmbench.reports.plots.figure import save_charts

from .ablations import BATCHING, DEPENDS, KV, SENTENCE, ablation


@pytest.fixture(scope="module")
def report() -> Report:
    return ablation_report(ablation())


def _table(report: Report, name: str) -> Table:
    return next(
        part
        for section in report.sections
        for part in section.parts
        if isinstance(part, Table) and part.id == name
    )


def _texts(table: Table) -> list[list[str]]:
    return [[cell.text for cell in row] for row in table.rows]


def test_the_first_screen_says_the_largest_effects_and_what_is_missing(report: Report) -> None:
    assert report.verdict == SENTENCE
    assert report.statements == (DEPENDS,)
    assert report.badge.word == "Cells left out"
    assert report.subtitle.startswith("2 × 2 factorial, 3 of 4 cells measured, 1 repeat each")
    figures = {one.label: (one.value, one.detail) for one in report.figures}
    assert figures["kv paged → contiguous"] == ("4.20×", "most moved: TTFT mean [3.80, 4.60]")
    assert figures["batching separate → mixed"] == (
        "undecided",
        "least sure: TTFT mean −3 % [−10, +5]",
    )
    assert report.notes[0].text.startswith("One run of each cell")
    whole = ablation(whole=True)
    assert ablation_report(whole).badge.word == "Whole factorial"
    # Counts told something, and what took time nothing.
    busy = tuple(replace(one, too_little="others used the processors") for one in whole.responses)
    assert ablation_report(replace(whole, responses=busy)).badge.tone == "caution"


def test_of_differences_the_largest_moved_most() -> None:
    """A small one has a large logarithm."""
    made = ablation()
    more = tuple(
        AblationResponse("kv", name, "share", "lower", "difference") for name in ("waste", "rest")
    )
    effects = tuple(
        AblationEffect((KV,), one.name, value, value - 0.01, value + 0.01, 1e-9, True)
        for one, value in zip(more, (0.02, -0.63), strict=True)
    )
    found = replace(made, responses=(*made.responses, *more), effects=effects, sentences=())
    (figure,) = ablation_report(found).figures
    assert figure.value == "−63 points"


def test_simulated_step_times_are_said_first() -> None:
    report = ablation_report(replace(ablation(whole=True), simulated=True))
    assert report.premise == "Simulated, not measured: step times are a cost model's."
    assert (report.badge.word, report.badge.tone) == ("Simulated, with cautions", "caution")
    quiet = replace(ablation(whole=True), simulated=True, notes=())
    assert ablation_report(quiet).badge.word == "Simulated"
    wrong = replace(ablation(), simulated=True, simulation_error="7 to 23 % too short")
    assert ablation_report(wrong).premise.endswith("How wrong they may be: 7 to 23 % too short.")
    measured = ablation_report(ablation(whole=True))
    assert (measured.premise, measured.badge.word) == ("", "Whole factorial")


def test_nothing_found_is_said() -> None:
    quiet = replace(
        ablation(),
        sentences=(),
        effects=tuple(replace(one, significant=False, sentence="") for one in ablation().effects),
    )
    found = ablation_report(quiet)
    none = "No effect could be told from no effect"
    assert found.verdict == f"{none}; some cannot be told at all: the notes say why."
    # A headline of reasons was six lines of bold, and said again under each chart.
    enough = tuple(replace(one, too_little="") for one in quiet.responses)
    assert ablation_report(replace(quiet, responses=enough)).verdict == f"{none}."
    short = tuple(replace(one, too_little="a run of 0.3 s is too short") for one in quiet.responses)
    # Counts, which are never too few, decide nothing in a single run.
    short = (*short[:-1], quiet.responses[-1])
    reason = ablation_report(replace(quiet, responses=short)).verdict
    assert reason == "No effect can be told from no effect: the notes say why."
    assert {section.id for section in found.sections} >= {"effects", "cells"}
    assert "moved" not in {section.id for section in found.sections}


def test_nothing_is_green_where_nothing_was_decided() -> None:
    undecided = replace(ablation(whole=True), sentences=())
    badge = ablation_report(undecided).badge
    assert (badge.word, badge.tone) == ("Nothing decided", "caution")


@pytest.mark.parametrize(
    ("ends", "too_little", "value", "detail"),
    [
        ((0.99, 1.015), "", "none", "every interval is within 2 % of no effect"),
        # Known wrong here: "none / no effect that holds" for an interval from 1.65 to 8.58.
        ((1.65, 8.58), "", "undecided", "least sure: TTFT mean 3.49× [1.65, 8.58]"),
        ((0.99, 1.015), "a busy machine", "undecided", "least sure: TTFT mean 0 % [−1, +1.5]"),
    ],
)
def test_a_tile_says_none_only_of_a_narrow_interval_around_it(
    ends: tuple[float, float], too_little: str, value: str, detail: str
) -> None:
    low, high = ends
    found = ablation()
    middle = 3.49 if high > 2 else 1.0
    first = replace(found.effects[0], value=middle, low=low, high=high)
    responses = (replace(found.responses[0], too_little=too_little), *found.responses[1:])
    told = ablation_report(replace(found, effects=(first,), responses=responses, sentences=()))
    (figure,) = told.figures
    assert (figure.value, figure.detail) == (value, detail)


@pytest.mark.parametrize(
    ("high", "value", "detail"),
    [
        (1.015, "none", "every interval is within 2 % of no effect"),
        (1.05, "undecided", "least sure: TTFT mean 0 % [−1, +5]"),
    ],
)
def test_a_percentile_of_too_few_requests_is_in_no_tile_and_no_cell(
    high: float, value: str, detail: str
) -> None:
    """Known wrong here: "least sure: TTFT p99 3.49×" where the tables said n/a."""
    made = ablation()
    why = "a p99 takes 100 requests"
    tail = AblationResponse("ttft", "p99", "s", "lower", "ratio", "12 are too few", why)
    mean = replace(made.effects[0], value=1.0, low=0.99, high=high)
    effects = (mean, replace(mean, response="ttft.p99", value=3.49, low=1.65, high=8.58))
    cells = tuple(replace(one, values={**one.values, "ttft.p99": 0.4}) for one in made.cells)
    told = replace(made, responses=(*made.responses, tail), effects=effects, cells=cells)
    report = ablation_report(replace(told, sentences=()))
    (figure,) = report.figures
    assert (figure.value, figure.detail) == (value, detail)
    assert [row[-1] for row in _texts(_table(report, "cells"))] == ["n/a"] * 3
    alone = replace(told, effects=effects[1:], sentences=())
    assert ablation_report(alone).figures[0].detail == "nothing has an interval"


def test_a_tile_says_none_of_a_simulation_that_did_the_same() -> None:
    """Its rates have intervals, as wide as the load is uneven, and no step was another."""
    first = replace(ablation().effects[0], value=1.0, low=0.97, high=1.031)
    for simulated, value in ((True, "none"), (False, "undecided")):
        found = replace(ablation(), effects=(first,), simulated=simulated, sentences=())
        (figure,) = ablation_report(found).figures
        assert figure.value == value


def test_effects_stand_by_quantity_and_change(report: Report) -> None:
    found = _table(report, "effects")
    assert [column.title for column in found.columns] == [
        "Quantity",
        "batching separate → mixed",
        "kv paged → contiguous",
    ]
    assert _texts(found) == [
        ["TTFT mean", "−3 % [−10, +5]", "▼ worse 4.20× [3.80, 4.60]"],
        ["KV waste", "n/a", "? +63 points [+62, +64]"],
        ["Steps", "−68 steps", "n/a"],
    ]
    assert [row[2].tone for row in found.rows] == ["bad", "quiet", "quiet"]
    assert found.note.endswith("?: nothing can decide it; the notes say why.")


def test_a_count_that_did_not_move_is_no_change() -> None:
    unmoved = tuple(
        replace(one, value=0.0) if one.response == "counters.steps" else one
        for one in ablation().effects
    )
    found = _table(ablation_report(replace(ablation(), effects=unmoved)), "effects")
    assert _texts(found)[2] == ["Steps", "no change", "n/a"]


def test_a_terminal_says_first_why_nothing_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    from llmbench.harness.cli.tables import print_ablation

    print_ablation(
        replace(
            ablation(),
            sentences=(),
            responses=tuple(
                replace(one, too_little="a run of 0.3 s is too short")
                for one in ablation().responses
            ),
        )
    )
    first = capsys.readouterr().out.splitlines()[0]
    assert first == "No effect can be told from no effect: the notes say why."


def test_an_interaction_shows_both_sides(report: Report) -> None:
    assert _texts(_table(report, "interactions")) == [
        [
            "batching separate → mixed",
            "kv",
            "TTFT mean",
            "+12 % [+10, +14] with paged KV",
            "−40 % [−50, −30] with contiguous KV",
            "0.540× [0.400, 0.700]",
            "✓ depends",
        ]
    ]


@pytest.mark.parametrize(
    ("high", "too_little", "verdict", "cell"),
    [
        (1.0 + 1e-15, "", "no change", "no change"),
        (1.01, "", "? unclear", "0 % [0, +1]"),
        (1.0, "too few", "? unclear", "? 0 % [0, 0]"),
    ],
)
def test_an_effect_of_exactly_nothing_is_not_unclear(
    high: float, too_little: str, verdict: str, cell: str
) -> None:
    """Both levels made one schedule; not where nothing can be decided."""
    made = ablation()
    none = tuple(
        replace(one, value=1.0, low=1.0, high=high, significant=False)
        if one.response == "ttft.mean"
        else one
        for one in made.effects
    )
    first, *others = made.responses
    responses = (replace(first, too_little=too_little), *others)
    report = ablation_report(replace(made, effects=none, responses=responses))
    assert _texts(_table(report, "interactions"))[0][-1] == verdict
    assert _texts(_table(report, "effects"))[0][1:] == [cell, cell]


def test_an_interaction_whose_interval_begins_at_nothing_is_listed() -> None:
    made = ablation()
    touching = tuple(
        one if one.is_main else replace(one, value=0.02, low=0.0, high=0.04, significant=False)
        for one in made.effects
    )
    first, *others = made.responses
    responses = (replace(first, scale="difference"), *others)
    report = ablation_report(replace(made, effects=touching, responses=responses))
    (row,) = _texts(_table(report, "interactions"))
    assert row[-1] == "? unclear"


def test_cells_mechanisms_and_what_was_left_out(report: Report) -> None:
    assert len(_table(report, "cells").rows) == 3
    assert _texts(_table(report, "cells"))[0] == ["separate, paged", "200", "5", "900"]
    assert _texts(_table(report, "mechanisms"))[0][:3] == ["separate, paged", "100 ms", "50 %"]
    assert _texts(_table(report, "left-out")) == [["mixed, contiguous", "not run", "<no> room"]]
    shares = _table(report, "shares")
    assert [column.title for column in shares.columns][2:] == ["Queue", "Decode"]
    assert _texts(shares) == [["kv paged → contiguous", "TTFT mean", "97 %", "3 %"]]


def test_a_forest_has_every_effect_with_an_interval(report: Report) -> None:
    ttft, waste = report.charts
    assert [one.name for one in ttft.series] == [
        "Main effect that holds",
        "Interaction that holds",
        "Not told from none",
    ]
    assert ttft.panels[0].y.categories == (
        "batching separate → mixed",
        "kv paged → contiguous",
        "mixed batching × contiguous KV",
    )
    assert {one.role for chart in report.charts for one in chart.series} <= set(ROLES)
    assert (waste.series[0].x, waste.series[0].low) == ((63.0,), (62.0,))
    assert waste.note == "Nothing here decides: the notes say why."


def test_a_forest_is_drawn_with_its_intervals_and_the_line_of_no_effect(
    report: Report, tmp_path: Path
) -> None:
    drawn = figure(report.charts[0])
    main = drawn["data"][0]
    assert main["error_x"]["array"] == pytest.approx([0.4])
    assert main["error_x"]["arrayminus"] == pytest.approx([0.4])
    assert drawn["layout"]["shapes"][0]["x0"] == 1.0
    assert drawn["layout"]["yaxis"]["range"] == [2.5, -0.5]
    assert len(save_charts(report.charts, tmp_path, ("svg", "png"))) == 4


def test_the_page_escapes_and_holds_the_numbers_of_its_charts() -> None:
    page = render(ablation_report(ablation()))
    assert "&lt;no&gt; room" in page
    assert "<no> room" not in page
    assert SENTENCE.split(":")[0] in page
    assert 'id="forest-ttft-mean"' in page
    assert "llmbench ablate --axes batching,kv" in page


def test_markdown_has_the_sentences_and_the_tables() -> None:
    text = render_markdown(ablation_report(ablation()))
    assert text.startswith("## Ablation: batching × kv\n")
    assert "### Main effects" in text
    assert "### Interactions" in text
    assert "<details><summary>What each engine did</summary>" in text
    assert "4.20×" in text


def test_the_tables_behind_a_forest_are_its_points(report: Report) -> None:
    from llmbench.reports.chart_table import chart_table

    chart = report.charts[0]
    assert isinstance(chart, Chart)
    rows = _texts(chart_table(chart))
    assert rows[1] == ["kv paged → contiguous", "4.20", "3.80", "4.60", "Main effect that holds"]
    assert len(rows) == 3


def test_the_first_screen_has_each_change_before_the_second_of_any() -> None:
    """Two sentences of one change, then one of another: the other comes second."""
    base = ablation(whole=True)
    effects = tuple(
        AblationEffect((change,), response, 2.0, 1.5, 2.5, 1e-9, True, (), text)
        for change, response, text in (
            (KV, "ttft.mean", "kv most."),
            (KV, "kv.waste_share", "kv next."),
            (BATCHING, "ttft.mean", "batching most."),
        )
    )
    sentences = tuple(one.sentence for one in effects)
    report = ablation_report(replace(base, effects=effects, sentences=sentences, simulated=True))
    assert (report.verdict, *report.statements) == ("kv most.", "batching most.", "kv next.")
    assert "4 of 4 cells simulated" in report.subtitle
    assert report.premise.startswith("Simulated, not measured: ")
