from __future__ import annotations

import math
from dataclasses import replace

import pytest
from llmbench.reports.clearly_best import clearly_best
from llmbench.reports.comparison_report import comparison_report
from llmbench.reports.comparison_tables import (
    difference_table,
    level_text,
    metric_table,
    ratio_cell,
    row_scales,
)
from llmbench.reports.model import Comparison, ConfigDifference, MetricComparison, Ratio

from .comparisons import compared_runs, comparison_of, with_rows
from .conftest import partial


def test_the_verdict_sorts_the_headline_metrics_by_what_was_found() -> None:
    runs = compared_runs()
    report = comparison_report(runs, comparison_of(runs))
    assert report.verdict == (
        "inflight-awq against paged-awq: better in output throughput (1.12×); "
        "worse in TTFT p99 (1.31×); the same in E2EL p50 (1.00×)."
    )
    assert report.statements[0] == "Inconclusive in TPOT p50 (0.97×)."
    assert "Every run was sent the same requests: azure-conv-small." in report.statements
    assert "2 settings differ: engine, batching." in report.statements


def test_the_verdict_leaves_out_nothing_that_is_worse() -> None:
    """Neither what a tile shows as worse, nor what only the table has: counts are counted, unless
    nothing else is worse."""
    runs = compared_runs()
    worse, better = Ratio(1.05, 1.01, 1.09, "worse"), Ratio(0.9, 0.8, 0.95, "better")
    comparison = comparison_of(runs)
    rows = (
        *comparison.rows,
        MetricComparison("ttft", "p50", "s", "lower", (0.1, 0.105), (None, worse)),
        MetricComparison("ttft", "mean", "s", "lower", (0.1, 0.105), (None, worse)),
        MetricComparison("tpot", "p99", "s", "lower", (0.1, 0.09), (None, better)),
        MetricComparison("itl", "p50", "s", "lower", (0.1, 0.09), (None, better)),
        MetricComparison("counters", "steps", "steps", "lower", (10.0, 12.0), (None, worse)),
        MetricComparison("quality", "perplexity", "", "lower", (10.0, 12.0), (None, worse)),
    )
    assert with_rows(comparison, rows).statement == (
        "inflight-awq against paged-awq: better in output throughput (1.12×), TPOT p99 (0.90×); "
        "worse in TTFT p50 (1.05×), TTFT p99 (1.31×), TTFT mean (1.05×), perplexity (1.05×) and "
        "1 more row of the table; the same in E2EL p50 (1.00×)."
    )
    # Of a row that holds by itself only, it is said.
    alone = (*comparison.rows, replace(rows[6], ratios=(None, replace(worse, alone=True))))
    assert "TTFT p50 (1.05×, taken alone)" in with_rows(comparison, alone).statement
    only = with_rows(comparison, (rows[-2],)).statement
    assert only == "inflight-awq against paged-awq: worse in steps (1.05×)."
    counts = ("steps", "preemptions", "recomputed_tokens", "requests_refused")
    many = tuple(replace(rows[-2], stat=stat) for stat in counts)
    assert with_rows(comparison, many).statement == (
        "inflight-awq against paged-awq: worse in 4 rows of the table."
    )
    three = compared_runs(3)
    base = comparison_of(three)
    third = (replace(rows[-2], values=(1, 1, 2), ratios=(None, UNSURE, worse)),)
    assert with_rows(base, third).statement == (
        "Against paged-awq, inflight-awq is not told apart; static is worse in 1 row of the table."
    )


def test_of_several_runs_what_else_is_worse_is_counted() -> None:
    """Named for each run it made a page of a sentence; the table of every metric has it."""
    worse = Ratio(1.05, 1.01, 1.09, "worse")
    for count, said in ((2, "worse in TTFT p99 (1.31×), ITL mean (1.05×)"), (3, "1 more row of")):
        comparison = comparison_of(compared_runs(count))
        ratios = (None, *[worse] * (count - 1))
        row = MetricComparison("itl", "mean", "s", "lower", (1.0, *[1.05] * (count - 1)), ratios)
        statement = with_rows(comparison, (*comparison.rows, row)).statement
        assert said in statement
        assert ("ITL" in statement) == (count == 2)


def test_a_tile_marks_alone_only_what_is_decided() -> None:
    runs = compared_runs()
    comparison = comparison_of(runs)
    for ratio, detail in (
        (Ratio(1.1, 0.9, 1.2, "inconclusive", alone=True), "? inconclusive: 480 → 629 ms"),
        (Ratio(1.3, 1.2, 1.4, "worse", alone=True), "▼ worse, taken alone: 480 → 629 ms"),
    ):
        rows = (replace(comparison.rows[1], ratios=(None, ratio)),)
        (figure,) = comparison_report(runs, with_rows(comparison, rows)).figures
        assert figure.detail == detail


@pytest.mark.parametrize(
    ("ratio", "text", "tone"),
    [
        (Ratio(0.83, 0.79, 0.88, "better"), "▲ better 0.83× (0.79 to 0.88)", "good"),
        (Ratio(1.31, 1.1, 1.62, "worse"), "▼ worse 1.31× (1.10 to 1.62)", "bad"),
        (Ratio(1.0, 0.99, 1.01, "same"), "= same 1.00× (0.99 to 1.01)", "quiet"),
        (Ratio(0.97, 0.9, 1.04, "inconclusive"), "? inconclusive 0.97× (0.90 to 1.04)", "caution"),
        (
            Ratio(0.67, 0.0, 3e28, "inconclusive", alone=True),
            "? inconclusive 0.67× (<0.01 to >100) alone",
            "caution",
        ),
        (
            Ratio(1.5, 0.01, math.inf, "inconclusive"),
            "? inconclusive 1.50× (0.010 to >100)",
            "caution",
        ),
        (Ratio(2.5), "2.50×", "quiet"),
        (Ratio(1.03, 1.0013, 1.05, "worse"), "▼ worse 1.03× (1.001 to 1.05)", "bad"),
        (Ratio(0.98, 0.96, 0.99992, "better"), "▲ better 0.98× (0.96 to 0.9999)", "good"),
        (Ratio(1.0, 1.0, 1.0, "same"), "= same 1.00× (1.00 to 1.00)", "quiet"),
        # A value is never outside of its own interval, as both are written.
        (Ratio(1.0013, 1.0011, 1.0021, "same"), "= same 1.001× (1.001 to 1.002)", "quiet"),
        (Ratio(0.998, 0.99, 0.9996, "better"), "▲ better 0.998× (0.99 to 0.9996)", "good"),
        (Ratio(144.0, 142.0, 146.0, "worse"), "▼ worse 144× (142 to 146)", "bad"),
        (Ratio(0.00598, 0.0, 0.11, "worse"), "▼ worse 0.0060× (<0.0001 to 0.11)", "bad"),
        (Ratio(0.031, verdict="better"), "▲ better 0.031×", "good"),
        # Known wrong here: "5.47× (5.47 to 5.47)" of two dozen requests, which looks like proof.
        (
            Ratio(5.47, 5.4688, 5.4712, "inconclusive", too_little="24 requests are too few"),
            "? inconclusive 5.47×",
            "caution",
        ),
        (
            Ratio(5.47, 4.9, 6.1, "inconclusive", too_little="24 requests are too few"),
            "? inconclusive 5.47× (4.90 to 6.10)",
            "caution",
        ),
        (Ratio(math.inf, verdict="worse"), "▼ worse from 0", "bad"),
        (None, "—", "quiet"),
    ],
)
def test_a_verdict_has_a_symbol_a_word_and_an_interval(
    ratio: Ratio | None, text: str, tone: str
) -> None:
    cell = ratio_cell(ratio)
    assert (cell.text, cell.tone) == (text, tone)


def test_the_text_and_window_that_quality_is_of_are_said_once() -> None:
    runs = compared_runs()
    said = [note.text for note in comparison_report(runs, comparison_of(runs)).notes]
    text = "4\u202f094 tokens of held-out text, windows of 2\u202f048"
    assert said.count(f"Perplexity and what is measured on the text: {text}.") == 1


def test_values_of_a_row_share_a_unit() -> None:
    table = metric_table(comparison_of(compared_runs()))
    texts = [[cell.text for cell in row] for row in table.rows]
    assert texts[1] == ["TTFT", "p99", "ms", "480", "629", "▼ worse 1.31× (1.10 to 1.62)"]
    assert texts[5] == ["KV waste", "", "%", "0", "n/a", "—"]


def test_how_sure_the_intervals_are_is_said_with_them() -> None:
    """Thirty rows that hold together at 95 % are not thirty at 95 %."""
    comparison = comparison_of(compared_runs())
    assert level_text(comparison) == "at 95 % for all together"
    note = metric_table(comparison).note
    assert "the ratio lies in, at 95 % for all together, by resampling requests, or for" in note
    row = replace(comparison.rows[0], ratios=(None, Ratio(1.1, 1.0, 1.2, "same", alone=True)))
    some = replace(comparison, rows=(row, *comparison.rows[1:]))
    assert level_text(some) == "at 95 % for all together but those marked alone"


def test_three_runs_have_a_verdict_each() -> None:
    runs = compared_runs(3)
    table = metric_table(comparison_of(runs))
    titles = [column.title for column in table.columns]
    assert titles[3:] == [
        "paged-awq (baseline)",
        "inflight-awq",
        "static",
        "inflight-awq to baseline",
        "static to baseline",
    ]
    report = comparison_report(runs, comparison_of(runs))
    # What is the same or not decided of so many is in the table.
    decided = "better in output throughput (1.12×) and worse in TTFT p99 (1.31×)"
    assert report.verdict == f"Against paged-awq, inflight-awq and static are {decided}."
    assert [chart.id for chart in report.charts if chart.id.startswith("kv-")] == [
        "kv-1",
        "kv-2",
        "kv-3",
    ]


def test_many_settings_are_left_to_their_table() -> None:
    runs = compared_runs()
    many = tuple(ConfigDifference(f"setting_{at}", (1, 2)) for at in range(9))
    report = comparison_report(runs, replace(comparison_of(runs), differing_config=many))
    assert "9 settings differ: the table of settings has them." in report.statements


def test_of_several_a_run_may_not_be_told_apart() -> None:
    runs = compared_runs(3)
    rows = tuple(replace(row, ratios=(None, UNSURE, UNSURE)) for row in comparison_of(runs).rows)
    report = comparison_report(runs, with_rows(comparison_of(runs), rows))
    assert report.verdict == "Against paged-awq, inflight-awq and static are not told apart."
    one_better = (replace(rows[0], ratios=(None, UNSURE, FASTER)), *rows[1:])
    report = comparison_report(runs, with_rows(comparison_of(runs), one_better))
    assert report.verdict == (
        "Against paged-awq, inflight-awq is not told apart; static is better in output throughput "
        "(0.90×)."
    )


def test_why_nothing_is_decided_is_said_with_it() -> None:
    """An interval that leaves out 1 is no verdict where too little was measured."""
    short = Ratio(15.7, 13.5, 19.0, "inconclusive", too_little="a run of 0.2 s is too short")
    runs = compared_runs()
    first, second, *others = comparison_of(runs).rows
    rows = tuple(replace(row, ratios=(None, short)) for row in (first, second))
    told = with_rows(comparison_of(runs), rows)
    assert told.statement == "inflight-awq against paged-awq: nothing is decided."
    assert told.undecided == (
        "Inconclusive in output throughput (15.7×), TTFT p99 (15.7×), since a run of 0.2 s is too "
        "short."
    )
    # What was decided, or left open by an interval, has no such reason.
    mixed = with_rows(comparison_of(runs), (rows[0], second, *others))
    assert mixed.statement.endswith("worse in TTFT p99 (1.31×); the same in E2EL p50 (1.00×).")
    # It stands under the headline, which was a page of bold with such reasons in it.
    reason = (
        "Inconclusive in output throughput (15.7×), since a run of 0.2 s is too short; "
        "in TPOT p50 (0.97×)."
    )
    assert mixed.undecided == reason
    report = comparison_report(runs, mixed)
    assert report.verdict == mixed.statement
    assert report.statements[0] == reason
    three = compared_runs(3)
    rows = tuple(replace(row, ratios=(None, short, short)) for row in comparison_of(three).rows)
    told = with_rows(comparison_of(three), rows)
    assert told.statement == "Against paged-awq, inflight-awq and static are not told apart."
    assert told.undecided == (
        "Not told apart: inflight-awq and static, since a run of 0.2 s is too short."
    )


FASTER, FASTEST = Ratio(0.9, 0.88, 0.92, "better"), Ratio(0.8, 0.78, 0.82, "better")
SLOWER, AS_FAST = Ratio(1.2, 1.1, 1.3, "worse"), Ratio(1.0, 0.99, 1.01, "same")
UNSURE = Ratio(0.999, 0.97, 1.04, "inconclusive")


@pytest.mark.parametrize(
    ("ratios", "best"),
    [
        ((FASTER, FASTEST), "C"),
        ((FASTEST, SLOWER), "B"),
        ((FASTER, UNSURE), "B"),
        ((SLOWER, SLOWER), "A"),
        ((Ratio(0.5, verdict="better"), Ratio(2.0, verdict="worse")), "B"),
        # The smallest mean is some run's, whatever the intervals say.
        ((UNSURE, AS_FAST), None),
        ((SLOWER, UNSURE), None),
        ((FASTER, Ratio(0.93, 0.91, 0.95, "better")), None),
        # So little was measured that its interval counts for nothing.
        ((Ratio(0.5, 0.4, 0.6, "inconclusive"), SLOWER), None),
        ((FASTER, Ratio(0.5, verdict="inconclusive")), None),
        ((FASTER, None), None),
    ],
)
def test_the_best_of_several_runs_is_named_only_where_it_is_beyond_doubt(
    ratios: tuple[Ratio | None, ...], best: str | None
) -> None:
    values = (0.1, *(None if one is None else 0.1 * one.value for one in ratios))
    if None in ratios:
        values = (0.1, 0.09, 0.02)  # the baseline's own value may be what no ratio is had to
    lower = MetricComparison("ttft", "p99", "s", "lower", values, (None, *ratios))
    turned = (None, *map(_inverse, ratios))
    for row in (lower, replace(lower, better="higher", ratios=turned)):
        comparison = replace(
            comparison_of(compared_runs(3)), runs=("A", "B", "C"), baseline="A", rows=(row,)
        )
        found = clearly_best(row, comparison)
        assert (None if found is None else comparison.runs[found]) == best


@pytest.mark.parametrize(
    ("metric", "stat", "second", "best"),
    [
        ("kv", "waste_share", 0.577, None),
        ("kv", "waste_share", 0.6, 2),
        ("counters", "preemptions", 0.577, 2),
    ],
)
def test_without_an_interval_a_difference_that_verdicts_call_none_makes_no_best(
    metric: str, stat: str, second: float, best: int | None
) -> None:
    ratios = (Ratio(second, verdict="better"), Ratio(0.575, verdict="better"))
    values = (1.0, *(one.value for one in ratios))
    row = MetricComparison(metric, stat, "share", "lower", values, (None, *ratios))
    comparison = replace(comparison_of(compared_runs(3)), rows=(row,))
    assert clearly_best(row, comparison) == best


def test_nothing_is_best_of_what_decides_nothing() -> None:
    far, near = Ratio(2.0, 1.8, 2.2, "worse"), Ratio(0.6, 0.5, 0.7, "better")
    row = MetricComparison("tpot", "p50", "s", "lower", (1.0, 0.6, 2.0), (None, near, far))
    comparison = replace(
        comparison_of(compared_runs(3)), runs=("A", "B", "C"), baseline="A", rows=(row,)
    )
    assert clearly_best(row, comparison) == 1
    disturbed = replace(far, verdict="inconclusive", too_little="other processes used 55%")
    assert clearly_best(replace(row, ratios=(None, near, disturbed)), comparison) is None
    unknown = replace(row, values=(1.0, 0.6, None), ratios=(None, near, None))
    assert clearly_best(unknown, comparison) is None


def _inverse(ratio: Ratio | None) -> Ratio | None:
    if ratio is None:
        return None
    low, high = (None if end is None else 1 / end for end in (ratio.high, ratio.low))
    return replace(ratio, value=1 / ratio.value, low=low, high=high)


def test_a_cause_is_named_where_nothing_else_can_be_it() -> None:
    runs = compared_runs()
    one = replace(comparison_of(runs), differing_config=(ConfigDifference("kv", ("a", "b")),))
    undecided = tuple(row for row in one.rows if row.id in ("tpot", "e2el", "kv"))

    def said(comparison: Comparison) -> str:
        return comparison_report(runs, comparison).statements[-1]

    assert said(one) == "One setting differs, kv: what is better or worse has that cause."
    for other in (
        replace(one, differences=("the environments differ in CPU: A / B",)),
        replace(one, same_requests=False),
        replace(one, rows=undecided),
    ):
        assert said(other) == "One setting differs: kv."
    same = replace(one, differing_config=(), differences=("the environments differ in CPU",))
    assert said(same) == "The runs have the same configuration, and differ in something else."


def test_settings_that_are_not_the_baselines_are_marked_by_a_sign() -> None:
    table = difference_table(comparison_of(compared_runs()))
    assert table is not None
    assert [cell.text for cell in table.rows[0]] == ["engine", "paged", "≠ inflight"]


def test_runs_without_differences_say_so() -> None:
    runs = compared_runs()
    comparison = replace(comparison_of(runs), differing_config=())
    assert difference_table(comparison) is None
    assert "The runs have the same configuration." in comparison_report(runs, comparison).statements


def test_where_latency_went_is_no_finding_where_nothing_is_decided() -> None:
    runs = compared_runs(3)
    comparison = comparison_of(runs)
    mean = MetricComparison("ttft", "mean", "s", "lower", (0.1, 0.2, 0.2), (None, UNSURE, SLOWER))
    report = comparison_report(runs, with_rows(comparison, (mean,)))
    first, gaps = (one for one in report.charts if one.id in ("ttft-parts", "gap-parts"))
    assert first.reading.startswith("What differs most from paged-awq in the mean TTFT: static ")
    assert first.reading.endswith(
        ". Whether the mean TTFT of inflight-awq differs from paged-awq's is not decided: the bars "
        "are what was measured, and no finding."
    )
    assert "inflight-awq" not in first.reading.partition(". ")[0]
    assert gaps.reading.startswith("Whether the mean gap between tokens of inflight-awq and static")


@pytest.mark.parametrize(
    ("same", "said"),
    [
        (True, "A shorter bar did the same work in less time."),
        (False, "A shorter bar may be of less work: the runs were not sent the same requests."),
        (None, "A shorter bar may be of less work: not every run says what it was sent."),
    ],
)
def test_bars_of_time_are_of_the_same_work_only_where_requests_were_the_same(
    same: bool | None, said: str
) -> None:
    runs = compared_runs()
    report = comparison_report(runs, replace(comparison_of(runs), same_requests=same))
    (chart,) = (one for one in report.charts if one.id == "step-time")
    assert chart.reading.startswith(f"{said} In steps: paged-awq ")


def test_an_invalid_run_shouts() -> None:
    runs = [compared_runs()[0], partial()]
    report = comparison_report(runs, comparison_of(runs))
    assert report.badge.word == "Not comparable"
    assert report.notes[0].text == "interrupted is partial: its numbers must not be compared."


def test_other_runs_than_were_compared_are_refused() -> None:
    runs = compared_runs()
    with pytest.raises(ValueError, match="are not"):
        comparison_report(list(reversed(runs)), comparison_of(runs))


def test_a_metric_has_one_unit_in_all_its_rows() -> None:
    """Known wrong here: a mean of the queue in ms, and its p99, in s, on the next row."""
    rows = (
        MetricComparison("queue", "mean", "s", "lower", (0.757, 0.9), (None, UNSURE)),
        MetricComparison("queue", "p99", "s", "lower", (12.5, 14.0), (None, UNSURE)),
    )
    assert [scale.unit for scale in row_scales(rows)] == ["ms", "ms"]
    comparison = replace(comparison_of(compared_runs()), rows=rows)
    units = [row[2].text for row in metric_table(comparison).rows]
    assert units == ["ms", "ms"]


def test_a_rate_is_said_to_be_over_what_it_was_taken_over() -> None:
    comparison = comparison_of(compared_runs())
    assert metric_table(comparison).rows[0][1].text == "steady window"
    whole = metric_table(replace(comparison, rates_over="whole run"))
    assert whole.rows[0][1].text == "whole run"
