"""Repeated runs side by side: what the intervals rest on, and what is still said against them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
from llmbench.engines.errors import ConfigError
from llmbench.harness.errors import InvalidRun
from llmbench.harness.repeats.compare import compare_repeats
from llmbench.harness.repeats.directory import Repeats
from llmbench.harness.result import Check
from llmbench.harness.stats.student import quantile
from llmbench.reports.model import Comparison, MetricComparison, Run

from .made import in_memory, invalid, make_run, metric_runs

BEFORE = (0.100, 0.110, 0.105, 0.120)


def _row(comparison: Comparison, name: str) -> MetricComparison:
    return next(row for row in comparison.rows if row.name == name)


def _slower(factors: Sequence[float]) -> Repeats:
    values = [factor * value for factor, value in zip(factors, BEFORE, strict=True)]
    return metric_runs("b", "ttft__p99", values)


def test_a_difference_between_pairs_is_found_though_runs_differ_more() -> None:
    """Pairs of 1.19 to 1.21 of runs that differ by a fifth. Nothing else differs at all, so this
    interval is the only one that can mislead, and is at 95 %."""
    factors = (1.19, 1.20, 1.21, 1.20)
    comparison = compare_repeats([metric_runs("a", "ttft__p99", BEFORE), _slower(factors)])
    row = _row(comparison, "ttft.p99")
    ratio = row.ratios[1]
    assert ratio is not None
    assert ratio.low is not None
    assert ratio.high is not None
    logs = [math.log(one) for one in factors]
    mean = sum(logs) / 4
    std = math.sqrt(sum((one - mean) ** 2 for one in logs) / 3)
    half = quantile(0.95, 3) * std / 2
    assert math.log(ratio.value) == pytest.approx(mean)
    assert math.log(ratio.high) - mean == pytest.approx(half)
    assert mean - math.log(ratio.low) == pytest.approx(half)
    assert ratio.verdict == "worse"
    assert row.values[0] == pytest.approx(sum(BEFORE) / 4)
    assert comparison.same_requests


def test_pairs_that_do_not_agree_decide_nothing() -> None:
    comparison = compare_repeats(
        [metric_runs("a", "ttft__p99", BEFORE), _slower((1.5, 0.9, 1.3, 0.8))]
    )
    ratio = _row(comparison, "ttft.p99").ratios[1]
    assert ratio is not None
    assert ratio.verdict == "inconclusive"


def test_what_is_the_same_in_every_run_has_no_interval_and_costs_none_of_the_95_percent() -> None:
    comparison = compare_repeats([metric_runs("a", "ttft__p99", BEFORE), _slower((1.2,) * 4)])
    ratio = _row(comparison, "memory.weight_bytes").ratios[1]
    assert ratio is not None
    assert (ratio.value, ratio.low, ratio.high, ratio.verdict) == (1.0, None, None, "same")


def _two_pairs() -> tuple[Repeats, Repeats]:
    """Latencies and rates of two pairs that do not agree: two judged, four to look at."""
    names = ("ttft__p99", "tpot__p50", "ttft__p50", "ttft__mean", "tpot__p99", "itl__p99")
    sides = ((1.0, 1.0), (1.3, 0.8))
    before, after = (
        [make_run(at, **dict.fromkeys(names, 0.1 * one)) for at, one in enumerate(side, start=1)]
        for side in sides
    )
    return in_memory("a", before), in_memory("b", after)


def test_what_sentences_judge_holds_together_and_the_rest_alone() -> None:
    """Two pairs, 1.3 and 0.8. Half an interval of their logarithms is t of one degree of freedom,
    tan(pi / 2 x confidence), times |ln 1.3 - ln 0.8| / 2: that is s / sqrt(2) of two values."""
    comparison = compare_repeats(_two_pairs())
    half = abs(math.log(1.3) - math.log(0.8)) / 2
    for name, confidence, alone in (("ttft.p99", 1 - 0.05 / 2, False), ("itl.p99", 0.95, True)):
        ratio = _row(comparison, name).ratios[1]
        assert ratio is not None
        assert ratio.high is not None
        assert ratio.alone is alone
        t = math.tan(math.pi / 2 * confidence)
        assert math.log(ratio.high / ratio.value) == pytest.approx(t * half, rel=1e-6)
    said = " ".join(comparison.warnings)
    assert "2 pairs: for 2 judged ratios to hold together at 95 %, an interval reaches 18" in said
    assert "alone, as of every other row and of a gate with one rule, 8.98" in said


def _view(name: str) -> Run:
    from llmbench.harness.rendering import run_view

    run = make_run(1)
    return run_view(name, run.result, run.requests, run.steps)


def test_every_ratio_that_a_sentence_names_is_judged() -> None:
    from llmbench.harness.repeats.compare import SENTENCE_ROWS
    from llmbench.reports.comparison_report import comparison_report
    from llmbench.reports.glossary import in_sentence

    comparison = compare_repeats(_two_pairs())
    report = comparison_report([_view("a"), _view("b")], comparison)
    told = f"{report.verdict} {comparison.undecided}"
    labels = {one.name: one.label for one in comparison.rows}
    named = {name for name, label in labels.items() if f"{in_sentence(label)} (" in told}
    assert {"ttft.p99", "output_throughput.window"} <= named
    assert named <= SENTENCE_ROWS


@pytest.mark.parametrize("side", [0, 1], ids=["the first", "the other"])
@pytest.mark.parametrize("at", [0, 3], ids=["first repeat", "later repeat"])
def test_one_repeat_without_a_steady_window_leaves_whole_runs_to_compare(
    side: int, at: int
) -> None:
    sides = [
        [
            make_run(repeat, output_throughput__run=rate, output_throughput__window=rate)
            for repeat, rate in enumerate(rates, start=1)
        ]
        for rates in ((100.0, 102.0, 98.0, 101.0, 99.0), (121.0, 120.0, 119.0, 122.0, 118.0))
    ]
    one = sides[side][at]
    window = one.result.window.model_copy(update={"steady": False})
    sides[side][at] = replace(one, result=one.result.model_copy(update={"window": window}))
    comparison = compare_repeats([in_memory("a", sides[0]), in_memory("b", sides[1])])
    unlike = _row(comparison, "output_throughput.window").ratios[1]
    whole = _row(comparison, "output_throughput.run").ratios[1]
    assert unlike is not None
    assert unlike.verdict == "inconclusive"
    assert whole is not None
    assert (whole.verdict, whole.alone) == ("better", False)
    assert "better in output throughput, whole run (1.20×)" in comparison.statement
    assert "throughput" not in comparison.undecided
    assert comparison.rates_over == "steady window, else whole run"
    assert comparison.between is not None
    for pair in comparison.between.pairs:
        assert pair.ratios["output_throughput.run"] == pytest.approx(1.2, rel=0.05)
        assert "output_throughput.window" not in pair.ratios


def test_an_interval_that_runs_do_not_bound_is_written_so(
    capsys: pytest.CaptureFixture[str],
) -> None:
    from llmbench.harness.cli.compare_tables import print_comparison
    from llmbench.harness.rendering import comparison_reports

    comparison = compare_repeats(_two_pairs())
    print_comparison(comparison)
    printed = capsys.readouterr().out
    row = next(line for line in printed.splitlines() if line.startswith("TTFT p99 "))
    assert "1.02×  <0.01 to >100" in row
    assert "? inconclusive" in row
    assert "alone" not in row
    assert "intervals at 95 % for all together but those marked alone, by Student's t" in printed
    assert "alone" in next(line for line in printed.splitlines() if line.startswith("ITL p99 "))
    assert comparison.statement in printed
    reports = comparison_reports([make_run(1), make_run(1)], comparison)
    assert "1.02× (&lt;0.01\u00a0to\u00a0&gt;100)" in reports["comparison.html"]
    assert r"1.02× (\<0.01 to \>100)" in reports["comparison.md"]
    assert "Alone: at 95 % by itself" in reports["comparison.md"]


def test_what_the_intervals_rest_on_is_said_with_every_pair() -> None:
    factors = (1.19, 1.20, 1.21, 1.20)
    comparison = compare_repeats([metric_runs("a", "ttft__p99", BEFORE), _slower(factors)])
    between = comparison.between
    assert between is not None
    assert (between.runs, between.paired) == ((4, 4), True)
    assert between.shown == ("repeat-1", "repeat-1")
    assert "4 pairs of runs, each pair sent the same requests" in between.how
    assert [pair.ratios["ttft.p99"] for pair in between.pairs] == pytest.approx(factors)
    said = " ".join(comparison.warnings)
    assert "one run of each" not in said
    assert "not run in turns" in said
    assert "4 pairs: for 1 judged ratio to hold together at 95 %, an interval reaches 1.59" in said


def test_sides_sent_other_requests_are_compared_as_groups_and_it_is_said() -> None:
    before = metric_runs("a", "ttft__p99", BEFORE)
    after = in_memory("b", [make_run(at, seed=90 + at, ttft__p99=0.2) for at in (1, 2)])
    comparison = compare_repeats([before, after])
    assert comparison.between is not None
    assert not comparison.between.paired
    assert "Welch" in comparison.between.how
    assert comparison.between.pairs == ()
    assert any("not sent the same requests" in one for one in comparison.warnings)


def test_every_side_is_held_against_the_first() -> None:
    sides = [metric_runs("a", "ttft__p99", BEFORE), _slower((1.2,) * 4), _slower((0.8,) * 4)]
    comparison = compare_repeats(sides)
    verdicts = [one and one.verdict for one in _row(comparison, "ttft.p99").ratios]
    assert verdicts == [None, "worse", "better"]


def test_a_repeat_that_is_not_valid_is_refused_unless_asked_for() -> None:
    before = metric_runs("a", "ttft__p99", BEFORE)
    after = in_memory("b", [make_run(1), invalid(make_run(2)), make_run(3)])
    with pytest.raises(InvalidRun, match="b/repeat-2: not valid"):
        compare_repeats([before, after])
    comparison = compare_repeats([before, after], allow_invalid=True)
    assert comparison.warnings[0] == "b/repeat-2 is not valid: it is marked invalid"


def test_one_side_is_no_comparison() -> None:
    with pytest.raises(ConfigError, match="at least two runs"):
        compare_repeats([metric_runs("a", "ttft__p99", BEFORE)])


def test_the_report_is_drawn_of_one_repeat_of_each_and_says_so() -> None:
    from llmbench.harness.rendering import comparison_reports

    comparison = compare_repeats(
        [metric_runs("a", "ttft__p99", BEFORE), _slower((1.19, 1.20, 1.21, 1.20))]
    )
    drawn = [replace(make_run(1)) for _ in "ab"]
    markdown = comparison_reports(drawn, comparison)["comparison.md"]
    assert "a run 4 times, b run 4 times" in markdown
    assert "charts, steps and parts of latencies are of repeat-1 of each" in markdown
    assert "### Every pair of runs" in markdown
    assert "| repeat-3 |" in markdown
    assert "1.21×" in markdown
    assert "4 pairs of runs, each pair sent the same requests" in markdown
    assert "by resampling requests" not in markdown


def test_a_repeated_run_beside_itself_is_said_to_be_the_same_run() -> None:
    side = metric_runs("a", "ttft__p99", BEFORE)
    said = compare_repeats([side, side]).statement
    assert said == "a (2) is the same run as a: there is nothing to compare."


def test_a_repeat_that_was_disturbed_may_explain_a_difference() -> None:
    check = Check(id="throttling", ok=False, fatal=False, detail="held back for 9 %")
    run = make_run(2)
    validity = run.result.validity.model_copy(update={"checks": (check,)})
    disturbed = replace(run, result=run.result.model_copy(update={"validity": validity}))
    sides = [
        in_memory(name, [make_run(1), other]) for name, other in (("a", run), ("b", disturbed))
    ]
    found = compare_repeats(sides)
    assert found.differences == ("b/repeat-2: held back for 9 %",)
    reasons = [one for one in found.warnings if one.startswith("inconclusive whatever")]
    assert any("held back for 9 %" in one for one in reasons)


def test_eighty_columns_break_no_name_where_most_rows_hold_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from llmbench.harness.cli import compare_tables
    from llmbench.harness.cli.console import TerminalConsole

    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setattr(compare_tables, "TerminalConsole", lambda: TerminalConsole(width=80))
    compare_tables.print_comparison(compare_repeats(_two_pairs()))
    lines = capsys.readouterr().out.splitlines()
    (row,) = (line for line in lines if line.startswith("ITL p99 "))
    assert row.rstrip().endswith(" to 22.3*  ?")
    assert any(line.startswith("Normalised latency mean ") for line in lines)
    assert any(line.rstrip().endswith("? inconclusive   * alone") for line in lines)
