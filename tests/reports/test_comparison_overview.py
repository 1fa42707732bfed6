from __future__ import annotations

from dataclasses import replace

import pytest
from llmbench.reports.comparison_overview import overview, tiles
from llmbench.reports.comparison_report import comparison_report
from llmbench.reports.html.figure import figure, keys
from llmbench.reports.markdown import render_markdown
from llmbench.reports.model import Chart, Comparison, MetricComparison, Ratio, Table

from .comparisons import compared_runs, comparison_of


def parts(comparison: Comparison) -> tuple[Table | None, Chart | None]:
    found = {part.id: part for part in overview(comparison)}
    answers, drawn = found.pop("answers", None), found.pop("trade-off", None)
    assert not found
    assert answers is None or isinstance(answers, Table)
    assert drawn is None or isinstance(drawn, Chart)
    return answers, drawn


def with_values(
    comparison: Comparison, metric: str, values: tuple[float | None, ...]
) -> Comparison:
    rows = tuple(
        replace(row, values=values) if row.id == metric else row for row in comparison.rows
    )
    return replace(comparison, rows=rows)


def test_two_runs_have_tiles_and_more_a_table() -> None:
    two, three = (comparison_of(compared_runs(count)) for count in (2, 3))
    assert [one.value for one in tiles(two)] == ["1.12×", "1.31×", "0.97×", "1.00×"]
    assert parts(two)[0] is None
    assert tiles(three) == ()
    answers, _ = parts(three)
    assert answers is not None
    assert [column.title for column in answers.columns] == [
        "",
        "paged-awq",
        "inflight-awq",
        "static",
        "Best",
    ]
    texts = [[cell.text for cell in row] for row in answers.rows]
    assert texts == [
        # Both others are better, by as much: neither is the best.
        ["Output throughput (tokens/s)", "143", "160 ▲", "160 ▲", "—"],
        ["TTFT p99 (ms)", "480", "629 ▼", "629 ▼", "paged-awq"],
        ["TPOT p50 (ms)", "20", "19.4 ?", "19.4 ?", "—"],
        ["E2EL p50 (ms)", "1\u202f500", "1\u202f500 =", "1\u202f500 =", "—"],
        ["KV waste (%)", "0", "n/a", "n/a", "—"],
    ]
    assert [row[2].tone for row in answers.rows] == ["good", "bad", "caution", "quiet", "plain"]
    assert answers.note.startswith(
        "Against paged-awq: ▲ better, ▼ worse, = same, ? inconclusive. Best: beyond doubt, of all "
        "of them. Other metrics"
    )


def test_what_is_decided_alone_stands_in_brackets() -> None:
    comparison = comparison_of(compared_runs(3))
    alone, unsure = Ratio(1.3, 1.2, 1.4, "worse", alone=True), Ratio(1.1, 0.9, 1.2, "inconclusive")
    row = replace(comparison.rows[1], ratios=(None, alone, replace(unsure, alone=True)))
    answers, _ = parts(replace(comparison, rows=(row,)))
    assert answers is not None
    assert [cell.text for cell in answers.rows[0]][1:4] == ["480", "629 (▼)", "629 ?"]
    assert " In brackets: taken alone. Best:" in answers.note


def test_every_run_is_a_named_point_of_each_panel() -> None:
    comparison = comparison_of(compared_runs(3))
    _, drawn = parts(with_values(comparison, "output_throughput", (143.0, 160.16, 160.17)))
    assert drawn is not None
    assert [panel.y.label for panel in drawn.panels] == ["TTFT p99 (ms)", "TPOT p50 (ms)"]
    for panel, heights in zip(drawn.panels, ((480, 629, 629), (20, 19.4, 19.4)), strict=True):
        assert [one.labels for one in panel.series] == [
            ("paged-awq",),
            ("inflight-awq",),
            ("static",),
        ]
        assert [one.x[0] for one in panel.series] == [143.0, 160.16, 160.17]
        assert [one.y[0] for one in panel.series] == pytest.approx(heights)
    assert drawn.reading == "Further right is faster, lower is sooner."
    assert len(figure(drawn)["data"]) == 6


def test_throughputs_that_are_no_reason_are_said_to_be_none() -> None:
    comparison = comparison_of(compared_runs(2))
    _, drawn = parts(with_values(comparison, "output_throughput", (100.0, 101.9)))
    assert drawn is not None
    assert drawn.reading == "Throughputs are within 2 % of each other: lower is sooner."
    _, drawn = parts(with_values(comparison, "output_throughput", (100.0, 102.1)))
    assert drawn is not None
    assert drawn.reading.startswith("Further right")


def test_names_have_room_beside_their_points() -> None:
    comparison = comparison_of(compared_runs(2))
    short, long, cut = (
        parts(replace(comparison, runs=("a", name), baseline="a"))[1]
        for name in ("b", "b" * 20, "b" * 21)
    )
    assert short is not None
    assert long is not None
    assert short.x.high == pytest.approx(160.16 / (1 - 0.03 - 0.023))
    assert long.x.high == pytest.approx(160.16 / (1 - 0.03 - 20 * 0.023))
    # What does not fit beside its point is told by the legend, and takes no room from the points.
    assert cut is not None
    assert [key.name for key in keys(cut)] == ["a", "b" * 21]
    assert cut.x.high == pytest.approx(1.05 * 160.16)


def test_latencies_far_from_each_other_are_told_apart_on_a_log_axis() -> None:
    comparison = comparison_of(compared_runs(3))
    _, drawn = parts(with_values(comparison, "ttft", (0.0383, 0.0469, 2.81)))
    assert drawn is not None
    assert [panel.y.log for panel in drawn.panels] == [True, False]
    layout = figure(drawn)["layout"]
    assert layout["yaxis"]["type"] == "log"
    assert "1\u202f000" in layout["yaxis"]["ticktext"]


def test_a_name_of_wide_letters_is_not_cut() -> None:
    """Known wrong here: "paged-aw…". On a page of 1 200 pixels the axis is 358 wide; the name takes
    66 beside a gap of 8, and the chart's margin is no place for it."""
    comparison = replace(comparison_of(compared_runs(2)), runs=("a", "paged-awq"), baseline="a")
    drawn = parts(comparison)[1]
    assert drawn is not None
    assert drawn.x.high is not None
    assert (1 - 160.16 / drawn.x.high) * 358 >= 66 + 8


@pytest.mark.parametrize("metric", ["output_throughput", "ttft", "tpot"])
def test_a_run_that_lacks_a_value_is_no_point(metric: str) -> None:
    comparison = comparison_of(compared_runs(3))
    row = next(one for one in comparison.rows if one.id == metric)
    _, drawn = parts(with_values(comparison, metric, (row.values[0], None, row.values[2])))
    assert drawn is not None
    fewest = min(len(panel.series) for panel in drawn.panels)
    assert fewest == 2
    _, alone = parts(with_values(comparison, metric, (row.values[0], None, None)))
    drawn_panels = 0 if alone is None else len(alone.panels)
    assert drawn_panels == (0 if metric == "output_throughput" else 1)


def test_runs_at_one_point_share_it() -> None:
    _, drawn = parts(comparison_of(compared_runs(3)))
    assert drawn is not None
    assert [one.name for one in drawn.panels[0].series] == ["paged-awq", "inflight-awq, static"]


def test_many_runs_close_together_are_told_apart_by_a_legend() -> None:
    comparison = comparison_of(compared_runs(2))
    names = tuple("abcde")
    rows = tuple(
        replace(
            row,
            values=tuple((row.values[0] or 1.0) * (1 + at / 100) for at in range(5)),
            ratios=(None, *[row.ratios[1]] * 4),
        )
        for row in comparison.rows
    )
    _, drawn = parts(replace(comparison, runs=names, baseline="a", rows=rows))
    assert drawn is not None
    assert [key.name for key in keys(drawn)] == list(names)
    assert {one.mark for one in drawn.series} == {"point"}


def test_whole_runs_are_set_beside_whole_runs() -> None:
    """Where not all have a steady window, the row of windows has one beside a whole run."""
    comparison = comparison_of(compared_runs(3))
    window = comparison.rows[0]
    run = replace(window, stat="run", values=(10.0, 11.0, 12.0))
    answers, drawn = parts(replace(comparison, rows=(window, run, *comparison.rows[1:])))
    assert answers is not None
    assert [cell.text for cell in answers.rows[0]][:2] == [
        "Output throughput, whole run (tokens/s)",
        "10",
    ]
    assert drawn is not None
    assert [one.x[0] for one in drawn.panels[0].series] == [10.0, 11.0, 12.0]


def test_runs_with_nothing_in_common_have_no_table() -> None:
    comparison = comparison_of(compared_runs(3))
    rows = tuple(row for row in comparison.rows if row.id == "batch_tokens")
    assert overview(replace(comparison, rows=rows)) == ()


def test_foreign_results_may_have_a_rate_of_the_whole_run_alone() -> None:
    comparison = comparison_of(compared_runs(2))
    rate = comparison.rows[0]
    whole = MetricComparison(rate.id, "run", rate.unit, rate.better, rate.values, rate.ratios)
    _, drawn = parts(replace(comparison, rows=(whole, *comparison.rows[1:])))
    assert drawn is not None
    _, none = parts(replace(comparison, rows=comparison.rows[1:]))
    assert none is None


def test_markdown_has_the_table_and_no_chart() -> None:
    runs = compared_runs(3)
    text = render_markdown(comparison_report(runs, comparison_of(runs)))
    assert text.count("### In short") == 1
    assert text.index("### In short") < text.index("### Every metric against the baseline")
    assert "Throughput against latency" not in text
