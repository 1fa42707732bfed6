"""When runs show too little, whatever they show."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from llmbench.harness.comparison.compare import compare
from llmbench.harness.comparison.evidence import disturbed as why_undecided
from llmbench.harness.comparison.evidence import requests_needed, too_little
from llmbench.harness.comparison.quantities import QUANTITIES
from llmbench.harness.gate.rules import parse_rule
from llmbench.harness.gate.runs import gate
from llmbench.harness.repeats.compare import compare_repeats
from llmbench.harness.repeats.directory import Repeats
from llmbench.harness.repeats.gate import gate_repeats
from llmbench.harness.repeats.pairs import examine_repeats, match
from llmbench.harness.result import Result, Window
from llmbench.harness.storage.store import StoredRun
from llmbench.reports.model import Verdict

from ..observed import serve_in_turn
from ..repeats.made import in_memory
from ..stored import SIMULATION, disturbed, stored_run


@cache
def run_of(
    seconds: float,
    *,
    slower: float = 1.0,
    seed: int = 1,
    simulated: bool = False,
    count: int = 150,
    slo_s: float | None = None,
) -> StoredRun:
    """A closed loop of one, of about that many seconds if `slower` is 1. slo_s: for a whole
    reply, which takes seconds / count."""
    rng = np.random.default_rng(seed)
    step_s = slower * seconds / count / 8
    served = serve_in_turn(count, step_s=lambda: float(step_s * rng.lognormal(-0.02, 0.2)))
    return stored_run(
        *served,
        label=f"{slower:g} {seed}",
        config={"seed": seed},
        slo=None if slo_s is None else {"e2el": slo_s},
        simulation=SIMULATION if simulated else None,
    )


def results(*runs: StoredRun) -> list[Result]:
    return [run.result for run in runs]


def test_a_short_run_shows_too_little_and_several_together_are_as_long_as_all() -> None:
    short, long = results(run_of(3.0)), results(run_of(9.0))
    assert too_little([long, long], "ttft.mean") == ""
    assert too_little([long, short], "ttft.mean") == (
        f"a run of {short[0].duration_s:.1f} s is too short (at least 5 s)"
    )
    assert too_little([long, short * 2], "ttft.mean") == ""
    assert "together are too short" in too_little([long, results(run_of(1.0)) * 2], "ttft.mean")


def test_virtual_time_is_never_too_short_and_may_have_too_few_requests() -> None:
    short = results(run_of(3.0, simulated=True))
    assert too_little([short, short], "ttft.p99", needed=150) == ""
    assert too_little([short, short], "ttft.p99", needed=requests_needed(99)) == (
        "150 served requests are too few to compare ttft.p99, which needs 299"
    )
    assert "too short" in too_little([short, results(run_of(3.0))], "ttft.mean")


@pytest.mark.parametrize("simulated", [False, True], ids=["measured", "simulated"])
def test_comparison_and_gate_and_repeats_take_three_seconds_alike(simulated: bool) -> None:
    """Half as slow again: seen by none where time is real, by all where it is virtual."""

    def made(seconds: float, slower: float, seed: int) -> StoredRun:
        return run_of(seconds, slower=slower, seed=seed, simulated=simulated)

    before, after = made(3.0, 1.0, 1), made(3.0, 1.5, 2)
    rows = {f"{row.id}.{row.stat}": row for row in compare([before, after]).rows}
    ratio = rows["tpot.mean"].ratios[1]
    assert ratio is not None
    assert ratio.verdict == ("worse" if simulated else "inconclusive")
    (row,) = gate(before, after, [parse_rule("tpot.mean=10%")]).rows
    assert row.verdict == ("regressed" if simulated else "inconclusive")
    sides = [
        in_memory(name, [made(1.0, slower, seed) for seed in (1, 2)])
        for name, slower in (("a", 1.0), ("b", 1.5))
    ]
    found = examine_repeats(match(*sides), QUANTITIES["tpot.mean"])
    assert bool(found.too_little) is not simulated


def _without_steady_window(run: StoredRun) -> StoredRun:
    """The same requests, of which the window is the whole run."""
    whole = Window(start_s=0.0, end_s=run.result.duration_s, method="the whole run", steady=False)
    return replace(run, result=run.result.model_copy(update={"window": whole}))


def _verdicts(before: StoredRun, after: StoredRun) -> dict[str, Verdict | None]:
    rows = compare([before, after]).rows
    return {f"{row.id}.{row.stat}": row.ratios[1].verdict for row in rows if row.ratios[1]}


def _repeated(name: str, *runs: StoredRun) -> Repeats:
    return in_memory(name, list(runs))


def test_goodput_under_another_slo_is_another_quantity() -> None:
    """One and the same engine keeps a loose limit always and a tight one half the time."""
    tight, loose = run_of(9.0, slo_s=0.06), run_of(9.0, slo_s=1.0)
    others = run_of(9.0, seed=2, slo_s=0.06), run_of(9.0, seed=2, slo_s=1.0)
    verdicts = _verdicts(tight, loose)
    assert verdicts["goodput_share.run"] == verdicts["goodput.window"] == "inconclusive"
    assert verdicts["e2el.mean"] == "same"
    (row,) = gate(loose, tight, [parse_rule("goodput_share.run=1%")]).rows
    assert (row.verdict, row.note) == ("inconclusive", "the runs were judged by different SLOs")

    sides = match(_repeated("a", tight, others[0]), _repeated("b", loose, others[1]))
    finding = examine_repeats(sides, QUANTITIES["goodput_share.run"])
    assert finding.too_little == "the runs were judged by different SLOs"

    alike = match(_repeated("a", loose, others[1]), _repeated("b", loose, others[1]))
    assert examine_repeats(alike, QUANTITIES["goodput_share.run"]).too_little == ""


def test_a_steady_window_is_not_held_against_a_whole_run() -> None:
    """The end of a run, where nothing replaces what ends, is in one rate and not in the other."""
    steady = run_of(9.0)
    assert steady.result.window.steady
    whole = _without_steady_window(run_of(9.0, slower=1.5, seed=2))
    verdicts = _verdicts(steady, whole)
    assert verdicts["output_throughput.window"] == "inconclusive"
    assert verdicts["output_throughput.run"] == "worse"
    both = _verdicts(_without_steady_window(steady), whole)
    assert both["output_throughput.window"] == "worse"
    assert "output_throughput.run" not in both
    (row,) = gate(steady, whole, [parse_rule("output_throughput.window=5%")]).rows
    assert row.verdict == "inconclusive"
    assert "without one, over the whole run" in row.note

    sides = match(_repeated("a", steady, run_of(9.0, seed=2)), _repeated("b", steady, whole))
    assert examine_repeats(sides, QUANTITIES["output_throughput.window"]).too_little
    assert not examine_repeats(sides, QUANTITIES["output_throughput.run"]).too_little


BUSY = "other processes used 55% of the processor time"


@pytest.mark.parametrize("which", [0, 1], ids=["before", "after"])
@pytest.mark.parametrize("check", ["machine", "throttling"])
def test_no_time_of_a_disturbed_run_is_decided_and_what_is_none_is(which: int, check: str) -> None:
    """Half as slow again, as a busy machine makes it; what was counted, computed and held is as it
    was."""
    runs = [run_of(9.0), run_of(9.0, slower=1.5, seed=2)]
    calm = _verdicts(*runs)
    assert calm["tpot.mean"] == "worse"
    runs[which] = disturbed(runs[which], check=check, detail=BUSY)
    compared = compare(runs)
    verdicts = _verdicts(*runs)
    rest = {name for name in verdicts if QUANTITIES[name].kind == "count"}
    rest |= {"kv.waste_share", "batch_tokens.mean", "batch_requests.mean"}
    assert {name: verdicts[name] for name in rest} == {name: calm[name] for name in rest}
    assert verdicts["kv.waste_share"] == verdicts["counters.steps"] == "same"
    assert {verdicts[name] for name in verdicts.keys() - rest} == {"inconclusive"}
    assert compared.undecided.endswith(f", since {BUSY} while {compared.runs[which]} was measured.")
    assert compared.statement.endswith(": the same in KV waste (1.00×).")
    rules = ("ttft.mean=10%", "steps=exact", "kv.waste_share=1%")
    outcome = gate(runs[0], runs[1], [parse_rule(rule) for rule in rules])
    assert outcome.exit_code == 4
    assert [row.verdict for row in outcome.rows] == ["inconclusive", "passed", "passed"]
    side = ("baseline", "current")[which]
    assert outcome.rows[0].note == f"{BUSY} while the {side} run was measured"
    # Even what is far within the limit: the run may have been slowed as much as it is better.
    assert gate(runs[0], runs[1], [parse_rule("ttft.mean=500%")]).exit_code == 4


def test_one_disturbed_repeat_keeps_its_side_from_deciding() -> None:
    """To leave it out would be to choose among measurements."""
    before = _repeated("a", run_of(9.0), run_of(9.0, seed=2))
    slower = [run_of(9.0, slower=1.5), run_of(9.0, slower=1.5, seed=2)]
    rules = [parse_rule(rule) for rule in ("tpot.mean=10%", "steps=0%", "kv.waste_share=1%")]
    after = _repeated("b", *slower)
    assert gate_repeats(before, after, rules).exit_code == 1
    busy = _repeated("b", slower[0], disturbed(slower[1], detail=BUSY))
    outcome = gate_repeats(before, busy, rules)
    assert outcome.exit_code == 4
    assert [row.verdict for row in outcome.rows] == ["inconclusive", "passed", "passed"]
    assert outcome.rows[0].note == f"{BUSY} while b/1.5 2 was measured"
    compared = compare_repeats([before, busy])
    assert compared.statement == "b against a: the same in KV waste (1.00×)."
    assert compared.undecided.startswith("Inconclusive in ")
    assert compared.undecided.endswith(
        f"E2EL p50 (1.50×), since {BUSY} while b/1.5 2 was measured."
    )


def test_many_disturbed_runs_are_counted() -> None:
    busy = [disturbed(run_of(9.0), detail=BUSY).result] * 4
    said = why_undecided(zip("abcd", busy, strict=True))
    assert said == (
        f"{BUSY} while a was measured and {BUSY} while b was measured (and 2 more runs alike)"
    )
    assert why_undecided([("a", run_of(9.0).result)]) == ""
