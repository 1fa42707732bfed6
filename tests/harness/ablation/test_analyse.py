"""What is said of a factorial whose engine is real and whose step times are a formula."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from llmbench.engines.config import engine_config
from llmbench.engines.errors import ConfigError
from llmbench.harness.ablation import sentences
from llmbench.harness.ablation.analyse import analyse
from llmbench.harness.ablation.design import Cell, NotRun, parse_axes
from llmbench.harness.ablation.factorial import Factorial
from llmbench.harness.comparison.enough import SHORTEST_RUN_S
from llmbench.harness.errors import InvalidRun
from llmbench.harness.storage.store import StoredRun
from llmbench.reports.ablation_model import Ablation, AblationEffect
from llmbench.reports.ablation_report import ablation_report, nothing_told
from llmbench.reports.ablation_tables import cells_table, effects_table
from llmbench.reports.format import seconds

from ..stored import disturbed
from .virtual import LENGTH, VirtualCells

DESIGN = parse_axes("batching,kv", engine_config("paged"))


def _serve(
    runner: VirtualCells, axes: str = "batching,kv", seeds: Sequence[int] = (0,)
) -> Factorial:
    design = parse_axes(axes, engine_config("paged"))
    runs: dict[Cell, list[StoredRun]] = {}
    for cell in design.cells:
        for seed in seeds:
            done = runner.measure(cell.overrides, seed)
            stored = StoredRun(Path(cell.name), done.result, done.requests, done.steps)
            runs.setdefault(cell, []).append(stored)
    return Factorial(design, runs)


@pytest.fixture(scope="module")
def factorial() -> Factorial:
    return _serve(VirtualCells())


@pytest.fixture(scope="module")
def found(factorial: Factorial) -> Ablation:
    return analyse(factorial)


def _effect(found: Ablation, text: str, response: str) -> AblationEffect:
    return next(one for one in found.effects if (one.text, one.response) == (text, response))


BATCHING, KV = "batching separate → mixed", "kv paged → contiguous"


def test_effects_are_geometric_means_of_what_the_cells_came_to(found: Ablation) -> None:
    value: Mapping[str, float] = {cell.name: cell.values["ttft.mean"] for cell in found.cells}
    mixed = {
        kv: value[f"batching=mixed,kv={kv}"] / value[f"batching=separate,kv={kv}"]
        for kv in ("paged", "contiguous")
    }

    main = _effect(found, BATCHING, "ttft.mean")
    both = _effect(found, f"{BATCHING} × {KV}", "ttft.mean")

    assert main.value == pytest.approx((mixed["paged"] * mixed["contiguous"]) ** 0.5)
    assert both.value == pytest.approx(mixed["contiguous"] / mixed["paged"])
    assert [side.value for side in both.conditional] == pytest.approx(list(mixed.values()))
    assert main.low is not None
    assert main.high is not None
    assert main.low < main.value < main.high < 1
    assert main.significant


def test_a_queue_for_memory_is_told_as_one(found: Ablation) -> None:
    """The contiguous cache has room for eight; with a paged one nobody waits for memory."""
    effect = _effect(found, KV, "ttft.mean")
    assert effect.shares["queue"] > 0.95
    assert "queueing (" in effect.sentence
    assert "because of KV capacity: at most " in effect.sentence
    assert "→ 8 requests run at a time (others wait for memory 0 % → " in effect.sentence


def test_waste_that_kept_nobody_out_is_said_to_be_that() -> None:
    """Known wrong here: "KV capacity, which did not bind: at most 8 → 8 requests run at a time"."""
    found = analyse(_serve(VirtualCells(pool_tokens=32 * LENGTH), "kv"))
    sentence = _effect(found, KV, "kv.waste_share").sentence
    assert re.search(
        r": memory that kept nobody out, since up to (\d+) requests ran at a time either way\.$",
        sentence,
    )


def test_times_of_a_ratio_are_geometric_means_of_cells_as_it_is(found: Ablation) -> None:
    """Of arithmetic ones the longest alone tells: a queue that is shorter in each cell but one
    would be longer."""
    queue_s = {cell.name: cell.mechanism["queue_s"] or 0.0 for cell in found.cells}
    base, level = (
        math.sqrt(queue_s[f"batching=separate,kv={kv}"] * queue_s[f"batching=mixed,kv={kv}"])
        for kv in ("paged", "contiguous")
    )
    sentence = _effect(found, KV, "ttft.mean").sentence
    assert f"mean queue {seconds(base)} → {seconds(level)}, " in sentence


def test_prompts_that_stall_decodes_are_told_as_interference(found: Ablation) -> None:
    effect = _effect(found, BATCHING, "itl.p99")
    assert effect.value < 1
    assert effect.shares["others_prefill"] > 0.8
    assert "interference of others' prompts (" in effect.sentence


def test_shares_of_an_effect_sum_to_one(found: Ablation) -> None:
    shares = [sum(one.shares.values()) for one in found.effects if one.shares]
    assert len(shares) > 10
    assert shares == pytest.approx([1.0] * len(shares))


def test_counts_are_exact_differences(found: Ablation) -> None:
    steps = {cell.name: cell.values["counters.steps"] for cell in found.cells}
    effect = _effect(found, BATCHING, "counters.steps")
    expected = sum(
        steps[f"batching=mixed,kv={kv}"] - steps[f"batching=separate,kv={kv}"]
        for kv in ("paged", "contiguous")
    )
    assert effect.value == expected / 2
    assert (effect.low, effect.high, effect.p, effect.significant) == (None, None, None, False)


def test_every_effect_that_holds_has_one_sentence(found: Ablation) -> None:
    held = [one for one in found.effects if one.significant]
    assert sorted(one.sentence for one in held) == sorted(found.sentences)
    assert all(sentence.endswith(".") for sentence in found.sentences)
    assert all(one.p is not None and one.p < 0.05 for one in held)
    assert "one run of each cell" in found.notes[0]


def test_an_invalid_cell_is_named_and_enters_no_effect(factorial: Factorial) -> None:
    broken = next(cell for cell in DESIGN.cells if cell.name == "batching=mixed,kv=contiguous")
    run = factorial.runs[broken][0]
    validity = run.result.validity.model_copy(update={"valid": False, "checks": ()})
    marked = replace(run, result=run.result.model_copy(update={"validity": validity}))

    found = analyse(replace(factorial, runs={**factorial.runs, broken: [marked]}))

    assert found.notes[0].startswith("mixed batching, contiguous KV: not valid")
    assert {one.text for one in found.effects} == {BATCHING, KV}
    # Batching is now seen with a paged cache alone.
    whole = {cell.name: cell for cell in analyse(factorial).cells}
    ratio = (
        whole["batching=mixed,kv=paged"].values["tpot.mean"]
        / whole["batching=separate,kv=paged"].values["tpot.mean"]
    )
    assert _effect(found, BATCHING, "tpot.mean").value == pytest.approx(ratio)


def test_where_invalid_runs_leave_nothing_to_compare_they_are_why(factorial: Factorial) -> None:
    sound, *others = DESIGN.cells
    marked = {
        cell: [
            replace(
                run,
                result=run.result.model_copy(
                    update={"validity": run.result.validity.model_copy(update={"valid": False})}
                ),
            )
            for run in factorial.runs[cell]
        ]
        for cell in others
    }
    runs = {sound: factorial.runs[sound], **marked}
    with pytest.raises(InvalidRun, match=r"^1 of 4 cells are valid, .*; batching=separate,kv=c"):
        analyse(Factorial(DESIGN, runs))


def test_cells_not_run_are_listed_with_their_reason(factorial: Factorial) -> None:
    missing = DESIGN.cells[3]
    runs = {cell: runs for cell, runs in factorial.runs.items() if cell != missing}
    found = analyse(Factorial(DESIGN, runs, (NotRun(missing, "they contradict"),)))
    assert [(cell.status, cell.reason) for cell in found.cells][3] == ("not run", "they contradict")
    with pytest.raises(ConfigError, match="1 valid cells"):
        analyse(Factorial(DESIGN, {DESIGN.cells[0]: factorial.runs[DESIGN.cells[0]]}))


def test_too_few_requests_decide_nothing_about_a_tail() -> None:
    found = analyse(_serve(VirtualCells(count=280), "kv"))
    effect = _effect(found, KV, "ttft.p99")
    assert effect.low is not None
    assert not effect.significant
    assert any(
        "280 served requests are too few to compare TTFT p99" in note for note in found.notes
    )
    assert _effect(found, KV, "ttft.mean").significant


@pytest.mark.parametrize(("count", "shown"), [(90, False), (100, True)])
def test_a_percentile_that_a_run_would_not_show_has_no_effect_to_show(
    count: int, shown: bool
) -> None:
    """Known wrong here: "TTFT p99 +4.5 % [+4.5, +4.5]" of 30 requests, an interval of no width."""
    found = analyse(_serve(VirtualCells(count=count), "kv"))
    table = effects_table(found)
    rows = {row[0].text: row[1].text for row in table.rows}
    assert (rows["TTFT p99"] != "n/a", rows["TTFT mean"] != "n/a") == (shown, True)
    assert ("n/a: a p99 takes 100 requests." in table.note) != shown
    assert any(one.title == "TTFT p99" for one in ablation_report(found).charts) == shown
    cells = cells_table(found)
    (at,) = (at for at, one in enumerate(cells.columns) if one.title.startswith("TTFT p99 ("))
    assert {row[at].text != "n/a" for row in cells.rows} == {shown}


BUSY = "other processes used 55% of the processor time"


@pytest.mark.parametrize("check", ["machine", "throttling"])
@pytest.mark.parametrize("repeats", [1, 2], ids=["once", "repeated"])
def test_no_time_of_a_disturbed_cell_is_decided_and_counts_are(repeats: int, check: str) -> None:
    """One run of one cell is enough: its times are in every effect."""
    quiet = _serve(VirtualCells(count=250), "kv", seeds=range(repeats))
    busy = quiet.design.cells[1]
    *others, last = quiet.runs[busy]
    assert isinstance(last, StoredRun)
    upset = disturbed(last, check=check, detail=BUSY)
    found = analyse(replace(quiet, runs={**quiet.runs, busy: [*others, upset]}))

    assert any(one.significant for one in analyse(quiet).effects)
    reasons = {one.name: one.too_little for one in found.responses}
    counts = {"running.peak", "counters.steps", "counters.preemptions"}
    assert counts < reasons.keys()
    for one in found.effects:
        if one.response.startswith("counters.") or one.response in counts:
            assert reasons[one.response] == ""
            assert (one.p is None) is (one.low is None)
        elif one.response == "kv.waste_share":  # what memory held is no time
            assert reasons[one.response] == ""
            assert one.significant
        else:
            assert reasons[one.response] == f"{BUSY} while kv=contiguous was measured"
            assert (one.p, one.significant) == (None, False)
    (sentence,) = found.sentences
    assert sentence.startswith("kv paged → contiguous: KV waste +")
    some = "No effect could be told from no effect; some cannot be told at all: the notes say why."
    assert nothing_told(found) == some
    times = tuple(one for one in found.responses if one.name != "kv.waste_share")
    assert nothing_told(replace(found, responses=times)) == (
        "No effect can be told from no effect: the notes say why."
    )
    told = [note for note in found.notes if BUSY in note]
    assert told == [f"{BUSY} while kv=contiguous was measured: effects with a ? decide nothing"]


def test_repeats_of_a_cell_are_as_long_as_all_together() -> None:
    """As `compare` adds up the repeats of a side; with them no run needs so many requests."""
    once = _serve(VirtualCells(count=100), "kv")
    (_, run), *_ = [(cell, runs[0]) for cell, runs in once.runs.items()]
    seconds = run.result.duration_s
    assert seconds < SHORTEST_RUN_S < 3 * seconds
    ttft = {one.name: one.too_little for one in analyse(once).responses}
    assert ttft["ttft.mean"] == f"a run of {seconds:.1f} s is too short (at least 5 s)"

    thrice = analyse(_serve(VirtualCells(count=100), "kv", seeds=range(3)))
    assert {one.too_little for one in thrice.responses} == {""}
    twice = analyse(_serve(VirtualCells(count=60), "kv", seeds=range(2)))
    reasons = {one.name: one.too_little for one in twice.responses}
    assert "s together are too short" in reasons["ttft.mean"]


def test_repeats_are_what_the_interval_comes_from() -> None:
    """The spread between repeats, by hand: with one axis of two levels and two repeats the effect
    is the mean of two log ratios, and t of one degree of freedom is 12.706."""
    factorial = _serve(VirtualCells(count=250), "kv", seeds=(0, 1))
    found = analyse(factorial)
    base, level = factorial.design.cells
    logs = [
        math.log(
            factorial.runs[level][at].result.metrics["e2el"].stats["mean"]
            / factorial.runs[base][at].result.metrics["e2el"].stats["mean"]
        )
        for at in (0, 1)
    ]

    effect = _effect(found, KV, "e2el.mean")

    middle, reach = sum(logs) / 2, 12.706 * abs(logs[0] - logs[1]) / 2
    assert effect.value == pytest.approx(math.exp(middle))
    assert effect.low == pytest.approx(math.exp(middle - reach), rel=1e-3)
    assert effect.high == pytest.approx(math.exp(middle + reach), rel=1e-3)
    assert found.repeats == 2
    assert not any("one run of each cell" in note for note in found.notes)


def test_a_preemption_storm_is_told_as_one() -> None:
    """So little memory that optimistic admission computes a third of its tokens again: prompts
    that are computed again hold others up as preemption, not as interference."""
    found = analyse(_serve(VirtualCells(pool_tokens=1100), "admission=reserve:optimistic"))
    reserve, optimistic = found.cells
    assert reserve.mechanism["preemptions"] == 0
    assert (optimistic.mechanism["recomputed_share"] or 0) > 0.3

    tpot = _effect(found, "admission reserve → optimistic", "tpot.mean")
    assert tpot.value > 1.2
    assert tpot.shares["preemption"] > 0.7
    assert f": 0 → {optimistic.mechanism['preemptions']:.0f} a run" in tpot.sentence
    ttft = _effect(found, "admission reserve → optimistic", "ttft.mean")
    assert "as long (preemption)" in ttft.sentence


def test_an_improvement_names_its_price() -> None:
    """Paged memory lets more run, and pays with preemptions that a contiguous one never has."""
    found = analyse(_serve(VirtualCells(pool_tokens=1280), "kv=contiguous:paged"))
    preempted = found.cells[1].mechanism["preemptions"]
    assert preempted

    better = _effect(found, "kv contiguous → paged", "ttft.mean")
    worse = _effect(found, "kv contiguous → paged", "tpot.mean")

    assert better.value < 1 < worse.value
    assert f"; cost: {preempted:.0f} preemptions more a run" in better.sentence
    assert "cost:" not in worse.sentence


def test_what_became_less_is_no_price(monkeypatch: pytest.MonkeyPatch) -> None:
    """More preemptions, of which fewer tokens are computed again: the shares of the test above,
    exchanged."""
    seen = sentences._Seen
    of = seen.of

    def exchanged(self: sentences._Seen, name: str) -> tuple[float, float]:
        before, after = of(self, name)
        return (after, before) if name == "recomputed_share" else (before, after)

    monkeypatch.setattr(seen, "of", exchanged)
    found = analyse(_serve(VirtualCells(pool_tokens=1280), "kv=contiguous:paged"))
    better = _effect(found, "kv contiguous → paged", "ttft.mean")

    assert re.search(r"; cost: \d+ preemptions more a run\.$", better.sentence)


def test_a_batch_that_stays_closed_is_not_called_a_lack_of_memory() -> None:
    """With memory and places for all, a static batch still keeps newcomers out until it ends."""
    cells = VirtualCells(pool_tokens=64 * 256, settings={"admission": "reserve"})
    found = analyse(_serve(cells, "batching=separate:static"))
    separate, static = found.cells
    assert separate.mechanism["closed_share"] == 0
    assert (static.mechanism["closed_share"] or 0) > 0.3
    assert static.mechanism["blocked_share"] == 0
    effect = _effect(found, "batching separate → static", "ttft.mean")
    assert "because a batch stays closed until its longest member ends" in effect.sentence
    assert "memory" not in effect.sentence


def test_a_mean_of_opposites_says_so(factorial: Factorial) -> None:
    """Where one effect rises with a paged cache and falls with a contiguous one, both stand in
    the sentence of the mean; where they agree, no sentence speaks of opposites."""
    found = analyse(factorial)
    ratios = {one.name for one in found.responses if one.scale == "ratio"}
    opposed: dict[tuple[str, str], bool] = {}
    for both in (one for one in found.effects if not one.is_main and one.response in ratios):
        base, level = both.conditional
        bounds = (base.low, base.high, level.low, level.high)
        if None not in bounds:
            opposed[both.changes[0].text, both.response] = (base.high or 0) < 1 < (
                level.low or 0
            ) or (level.high or 0) < 1 < (base.low or 0)
    told = {
        (one.text, one.response): "mean of opposites" in one.sentence
        for one in found.effects
        if one.is_main and one.sentence and (one.text, one.response) in opposed
    }
    assert any(told.values())
    # What an interval by itself shows may not hold among all that is judged.
    assert not any(said and not opposed[place] for place, said in told.items())
