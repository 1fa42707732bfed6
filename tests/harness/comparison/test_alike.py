"""When two numbers are not of the same thing."""

from __future__ import annotations

from dataclasses import replace

from llmbench.harness.comparison.compare import compare
from llmbench.harness.comparison.quantities import QUANTITIES
from llmbench.harness.gate.rules import parse_rule
from llmbench.harness.gate.runs import gate
from llmbench.harness.repeats.pairs import examine_repeats, match
from llmbench.harness.result import Window
from llmbench.harness.storage.store import StoredRun

from .in_turn import repeated, run_of, verdicts_of


def _without_steady_window(run: StoredRun) -> StoredRun:
    """The same requests, of which the window is the whole run."""
    whole = Window(start_s=0.0, end_s=run.result.duration_s, method="the whole run", steady=False)
    return replace(run, result=run.result.model_copy(update={"window": whole}))


def test_goodput_under_another_slo_is_another_quantity() -> None:
    """One and the same engine keeps a loose limit always and a tight one half the time."""
    tight, loose = run_of(9.0, slo_s=0.06), run_of(9.0, slo_s=1.0)
    others = run_of(9.0, seed=2, slo_s=0.06), run_of(9.0, seed=2, slo_s=1.0)
    verdicts = verdicts_of(tight, loose)
    assert verdicts["goodput_share.run"] == verdicts["goodput.window"] == "inconclusive"
    assert verdicts["e2el.mean"] == "same"
    (row,) = gate(loose, tight, [parse_rule("goodput_share.run=1%")]).rows
    assert (row.verdict, row.note) == ("inconclusive", "the runs were judged by different SLOs")

    sides = match(repeated("a", tight, others[0]), repeated("b", loose, others[1]))
    finding = examine_repeats(sides, QUANTITIES["goodput_share.run"])
    assert finding.too_little == "the runs were judged by different SLOs"

    alike = match(repeated("a", loose, others[1]), repeated("b", loose, others[1]))
    assert examine_repeats(alike, QUANTITIES["goodput_share.run"]).too_little == ""


def test_a_steady_window_is_not_held_against_a_whole_run() -> None:
    """The end of a run, where nothing replaces what ends, is in one rate and not in the other."""
    steady = run_of(9.0)
    assert steady.result.window.steady
    whole = _without_steady_window(run_of(9.0, slower=1.5, seed=2))
    verdicts = verdicts_of(steady, whole)
    assert verdicts["output_throughput.window"] == "inconclusive"
    assert verdicts["output_throughput.run"] == "worse"
    assert "worse in output throughput, whole run (" in compare([steady, whole]).statement
    both = verdicts_of(_without_steady_window(steady), whole)
    assert both["output_throughput.window"] == "worse"
    assert "output_throughput.run" not in both
    (row,) = gate(steady, whole, [parse_rule("output_throughput.window=5%")]).rows
    assert row.verdict == "inconclusive"
    assert "without one, over the whole run" in row.note

    sides = match(repeated("a", steady, run_of(9.0, seed=2)), repeated("b", steady, whole))
    assert examine_repeats(sides, QUANTITIES["output_throughput.window"]).too_little
    assert not examine_repeats(sides, QUANTITIES["output_throughput.run"]).too_little
