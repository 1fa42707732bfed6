"""When runs show too little, whatever they show."""

from __future__ import annotations

from dataclasses import replace

import pytest
from llmbench.harness.comparison.compare import compare
from llmbench.harness.comparison.enough import disturbed as why_undecided
from llmbench.harness.comparison.enough import requests_needed, too_little
from llmbench.harness.comparison.quantities import QUANTITIES
from llmbench.harness.gate.rules import parse_rule
from llmbench.harness.gate.runs import gate
from llmbench.harness.repeats.compare import compare_repeats
from llmbench.harness.repeats.gate import gate_repeats
from llmbench.harness.repeats.pairs import examine_repeats, match
from llmbench.harness.result import Check, Result, Validity
from llmbench.harness.run.replies import check_held_back
from llmbench.harness.storage.store import StoredRun

from ..observed import make_request
from ..repeats.made import in_memory
from ..stored import disturbed
from .in_turn import repeated, run_of, verdicts_of

TTFT = QUANTITIES["ttft.mean"]


def results(*runs: StoredRun) -> list[Result]:
    return [run.result for run in runs]


def test_a_short_run_shows_too_little_and_several_together_are_as_long_as_all() -> None:
    short, long = results(run_of(3.0)), results(run_of(9.0))
    assert too_little([long, long], TTFT) == ""
    assert too_little([long, short], TTFT) == (
        f"a run of {short[0].duration_s:.1f} s is too short (at least 5 s)"
    )
    assert too_little([long, short * 2], TTFT) == ""
    assert "together are too short" in too_little([long, results(run_of(1.0)) * 2], TTFT)


def test_what_is_no_time_is_known_from_a_short_run() -> None:
    """What steps computed and memory held does not depend on how fast the machine is just then."""
    before, after = run_of(3.0), run_of(3.0, seed=2)
    for name in ("kv.waste_share", "batch_tokens.mean"):
        assert too_little([results(before), results(after)], QUANTITIES[name]) == ""
    rows = {row.name: row for row in compare([before, after]).rows}
    waste = rows["kv.waste_share"].ratios[1]
    assert waste is not None
    assert waste.verdict != "inconclusive"
    assert waste.too_little == ""


def test_a_reply_of_one_token_says_nothing_of_a_pace() -> None:
    """150 requests of which ten have more than one token: their p99 is a maximum of ten."""
    result = run_of(9.0).result
    paced = result.metrics["tpot"]
    few = paced.model_copy(update={"stats": {**paced.stats, "count": 10.0}})
    sides = [[result.model_copy(update={"metrics": {**result.metrics, "tpot": few}})]] * 2
    for name in ("tpot.p99", "tpot.mean", "itl.p99"):
        tpot = QUANTITIES[name]
        assert too_little(sides, tpot, needed=requests_needed(tpot.q)).startswith(
            f"10 of 150 served requests have it and are too few to compare {tpot.label}, which "
        )
    assert too_little(sides, TTFT, needed=requests_needed(None)) == ""


def test_paces_decide_nothing_where_replies_are_held_back() -> None:
    """Who sends his slow replies whole would look faster by what is left."""
    result = run_of(9.0).result
    check = check_held_back([make_request((0.1, 0.2), index=at) for at in range(3)])
    assert check.ok
    came = replace(make_request((0.5, 0.5), index=3), chunk_times_s=(0.5,))
    check = check_held_back([*(make_request((0.1, 0.2), index=at) for at in range(3)), came])
    assert not check.ok
    assert not check.fatal
    validity = Validity.of([*result.validity.checks, check])
    sides = [[result], [result.model_copy(update={"validity": validity})]]
    for name in ("tpot.mean", "itl.p50", "icl.p50"):
        assert too_little(sides, QUANTITIES[name]).startswith(
            "1 of 4 replies of several tokens came"
        )
    assert too_little(sides, QUANTITIES["e2el.mean"]) == ""


@pytest.mark.parametrize(("count", "decides"), [(1, True), (2, False)])
def test_one_reply_in_a_hundred_may_be_held_back(count: int, decides: bool) -> None:
    result = run_of(9.0).result
    came = replace(make_request((0.5, 0.5)), chunk_times_s=(0.5,))
    replies = [make_request((0.1, 0.2))] * (100 - count) + [came] * count
    check = check_held_back([replace(one, index=at) for at, one in enumerate(replies)])
    held = result.model_copy(update={"validity": Validity.of([check])})
    assert (too_little([[result], [held]], QUANTITIES["tpot.mean"]) == "") == decides


def test_paces_decide_nothing_where_the_client_read_them_late() -> None:
    """Single gaps take less lag than the time from a first token to a last."""
    result = run_of(9.0).result

    def why(name: str, late: str) -> str:
        check = Check(id=late, ok=False, fatal=False, detail=f"{late} of the client")
        late_too = Validity.of([*result.validity.checks, check])
        sides = [[result], [result.model_copy(update={"validity": late_too})]]
        return too_little(sides, QUANTITIES[name])

    spans, gaps = "late_spans", "late_gaps"
    for name, by in (
        ("tpot.mean", spans),
        ("tpot.p50", spans),
        ("itl.mean", spans),
        ("icl.mean", spans),
        ("itl.p50", spans),
        ("itl.p99", gaps),
        ("icl.p99", gaps),
    ):
        assert why(name, by) == f"{by} of the client"
        assert why(name, gaps if by == spans else spans) == ""
    assert why("ttft.mean", spans) == why("e2el.p50", gaps) == ""


def test_virtual_time_is_never_too_short_and_may_have_too_few_requests() -> None:
    p99 = QUANTITIES["ttft.p99"]
    short = results(run_of(3.0, simulated=True))
    assert too_little([short, short], p99, needed=150) == ""
    assert too_little([short, short], p99, needed=requests_needed(99)) == (
        "150 served requests are too few to compare TTFT p99, which needs 299"
    )
    assert "too short" in too_little([short, results(run_of(3.0))], TTFT)


@pytest.mark.parametrize("simulated", [False, True], ids=["measured", "simulated"])
def test_comparison_and_gate_and_repeats_take_three_seconds_alike(simulated: bool) -> None:
    """Half as slow again: seen by none where time is real, by all where it is virtual."""

    def made(seconds: float, slower: float, seed: int) -> StoredRun:
        return run_of(seconds, slower=slower, seed=seed, simulated=simulated)

    before, after = made(3.0, 1.0, 1), made(3.0, 1.5, 2)
    rows = {row.name: row for row in compare([before, after]).rows}
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


BUSY = "other processes used 55% of the processor time"


@pytest.mark.parametrize("which", [0, 1], ids=["before", "after"])
@pytest.mark.parametrize("check", ["machine", "throttling"])
def test_no_time_of_a_disturbed_run_is_decided_and_what_is_none_is(which: int, check: str) -> None:
    """Half as slow again, as a busy machine makes it; what was counted, computed and held is as it
    was."""
    runs = [run_of(9.0), run_of(9.0, slower=1.5, seed=2)]
    calm = verdicts_of(*runs)
    assert calm["tpot.mean"] == "worse"
    runs[which] = disturbed(runs[which], check=check, detail=BUSY)
    compared = compare(runs)
    verdicts = verdicts_of(*runs)
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
    before = repeated("a", run_of(9.0), run_of(9.0, seed=2))
    slower = [run_of(9.0, slower=1.5), run_of(9.0, slower=1.5, seed=2)]
    rules = [parse_rule(rule) for rule in ("tpot.mean=10%", "steps=0%", "kv.waste_share=1%")]
    after = repeated("b", *slower)
    assert gate_repeats(before, after, rules).exit_code == 1
    busy = repeated("b", slower[0], disturbed(slower[1], detail=BUSY))
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
