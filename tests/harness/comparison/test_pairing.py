"""Which units of two runs are pairs: what both had to do, then or for as many tokens."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from llmbench.harness.comparison.compare import compare
from llmbench.harness.comparison.evidence import ONE_NUMBER, examine
from llmbench.harness.comparison.observed import STRETCHES, Observed
from llmbench.harness.comparison.pairing import Pairs, counts_repeat, pairs_of
from llmbench.harness.comparison.quantities import QUANTITIES
from llmbench.harness.gate.rules import parse_rule
from llmbench.harness.gate.runs import gate
from llmbench.harness.result import Target
from llmbench.harness.run.record import RequestRecord
from llmbench.harness.stats.bootstrap import Contrast
from llmbench.harness.storage.store import StoredRun

from ..observed import serve_in_turn
from ..stored import stored_run
from .in_turn import run_of as run_in_turn

REQUESTS, TIMES, WORK, NONE = Pairs.REQUESTS, Pairs.TIMES, Pairs.WORK, Pairs.NONE
BY_CLOCK = {"request_rate": 4.0}
LATENCY, RATE = QUANTITIES["ttft.mean"], QUANTITIES["output_throughput.window"]
WASTE = QUANTITIES["kv.waste_share"]


def run_of(
    *,
    seed: int = 0,
    by_clock: bool = True,
    fingerprint: str = "f" * 64,
    late_s: float = 0.0,
    slower: float = 1.0,
) -> StoredRun:
    """400 requests of very different length, at times that are the same in every run or one after
    the other, each of whose steps takes `slower` times as long; each reply comes up to `late_s`
    later than in another, by chance."""
    lengths = np.random.default_rng(1)
    requests, steps = serve_in_turn(
        400, step_s=lambda: float(0.02 * slower * lengths.lognormal(0, 1))
    )
    rng = np.random.default_rng(seed)
    later = [_later(one, late_s * rng.uniform()) for one in requests]
    config = BY_CLOCK if by_clock else None
    return stored_run(later, steps, label=f"run{seed}", fingerprint=fingerprint, config=config)


def _later(request: RequestRecord, by_s: float) -> RequestRecord:
    return replace(request, token_times_s=tuple(time_s + by_s for time_s in request.token_times_s))


def with_window(run: StoredRun, **changed: float | bool) -> StoredRun:
    window = run.result.window.model_copy(update=changed)
    return replace(run, result=run.result.model_copy(update={"window": window}))


def pairs_between(one: StoredRun, other: StoredRun) -> list[Pairs]:
    return [pairs_of(Observed(one), Observed(other), each) for each in (LATENCY, RATE, WASTE)]


def test_requests_of_one_plan_are_pairs_and_stretches_by_what_sets_the_pace() -> None:
    run, closed = run_of(), run_of(by_clock=False)
    assert pairs_between(run, run) == [REQUESTS, TIMES, TIMES]
    assert pairs_between(closed, closed) == [REQUESTS, WORK, WORK]
    assert pairs_between(run, closed) == [REQUESTS, NONE, NONE]
    for one in (run, closed):
        other = replace(one, result=run_of(fingerprint="0" * 64).result)
        assert pairs_between(one, other) == [NONE, NONE, NONE]


@pytest.mark.parametrize(("delay", "repeat"), [(0.0, True), (2.0, False)])
def test_counts_repeat_where_no_step_waits_by_the_clock(delay: float, repeat: bool) -> None:
    run = run_of(by_clock=False)
    config = {**run.result.config, "delay_factor": delay}
    result = run.result.model_copy(update={"config": config, "simulation": None})
    assert counts_repeat(result) is repeat


def test_counts_of_a_servers_replies_need_not_repeat() -> None:
    """A closed loop waits for no clock of ours, and yet the server's schedule is its own."""
    run = run_in_turn(9.0)
    target = Target(
        server="openai",
        owner="",
        base_url="http://box:80",
        endpoint="completions",
        prompt_as="ids",
        counted={},
        errors={},
    )
    served = replace(run, result=run.result.model_copy(update={"target": target}))
    assert (counts_repeat(run.result), counts_repeat(served.result)) == (True, False)
    counters = served.result.counters.model_copy(
        update={"output_tokens": served.result.counters.output_tokens * 9 // 10}
    )
    fewer = replace(served, result=served.result.model_copy(update={"counters": counters}))
    (row,) = gate(served, fewer, [parse_rule("output_tokens=1%")]).rows
    assert (row.verdict, row.note) == ("inconclusive", ONE_NUMBER)


def test_turns_wait_for_replies_whatever_the_rate() -> None:
    for run in (run_of(), run_of(by_clock=False)):
        turns = {"num_sessions": 100, "num_requests": 400}
        workload = run.result.workload.model_copy(update={"description": turns})
        sessions = replace(run, result=run.result.model_copy(update={"workload": workload}))
        assert pairs_between(run, sessions) == [REQUESTS, NONE, NONE]


def test_stretches_are_pairs_of_the_same_time_in_a_steady_state() -> None:
    run = run_of()
    window = run.result.window
    stretch_s = (window.end_s - window.start_s) / STRETCHES
    for shift_s, found in ((0.9 * stretch_s, TIMES), (1.2 * stretch_s, NONE)):
        shifted = with_window(run, start_s=window.start_s + shift_s)
        # Waste is over the whole run.
        assert pairs_between(run, shifted) == [REQUESTS, found, TIMES]
    assert pairs_between(run, with_window(run, steady=False)) == [REQUESTS, NONE, NONE]


def test_stretches_are_pairs_of_the_same_tokens_whenever_these_came() -> None:
    """An engine that is half as fast does the same in twice the time: its window is another time,
    and the same work. One that begins later in it, by more than a stretch, is over other work."""
    run = run_of(by_clock=False)
    slow = run_of(by_clock=False, slower=2.0)
    assert pairs_between(run, slow) == [REQUESTS, WORK, WORK]
    times_s = [time_s for one in Observed(run).records for time_s in one.token_times_s]
    start, end = (
        sum(time_s <= edge_s for time_s in times_s)
        for edge_s in (run.result.window.start_s, run.result.window.end_s)
    )
    for stretches, found in ((0.9, WORK), (1.2, NONE)):
        later_s = sorted(times_s)[start + round(stretches * (end - start) / STRETCHES) - 1]
        assert pairs_between(slow, with_window(run, start_s=later_s)) == [REQUESTS, found, WORK]
    assert pairs_between(run, with_window(slow, steady=False)) == [REQUESTS, NONE, NONE]


def test_what_a_closed_loop_had_to_do_cancels_between_engines() -> None:
    """Requests differ by far more than engines do; both served the same ones. The ratio's interval
    is its number, and that of a run which was sent others is wide."""
    run = Observed(run_of(by_clock=False))
    same, others = (
        examine(run, Observed(run_of(by_clock=False, slower=1.25, fingerprint=one)), RATE).estimate
        for one in ("f" * 64, "0" * 64)
    )
    assert same is not None
    assert (same.value, same.low, same.high) == pytest.approx((0.8, 0.8, 0.8), rel=1e-3)
    assert others is not None
    assert others.low < 0.75
    assert others.high > 0.85


def test_stretches_of_work_have_as_many_tokens_each() -> None:
    """400 requests of 8; tokens that come at once fall into one stretch."""
    run = Observed(run_of(by_clock=False))
    tokens = run.sample(RATE, "work").values
    assert tokens == pytest.approx(np.full(STRETCHES, tokens.sum() / STRETCHES), abs=1)


@pytest.mark.parametrize("by_clock", [True, False])
@pytest.mark.parametrize(
    ("fingerprint", "verdict"), [("f" * 64, "same"), ("0" * 64, "inconclusive")]
)
def test_a_rate_at_which_both_served_the_same_is_the_same_beyond_doubt(
    by_clock: bool, fingerprint: str, verdict: str
) -> None:
    """How much came when is what differs most within each run, and it came to both."""
    one = run_of(seed=0, by_clock=by_clock, late_s=0.01)
    other = run_of(seed=1, by_clock=by_clock, late_s=0.01, fingerprint=fingerprint)
    assert one.result.window.steady
    (row,) = (
        row
        for row in compare([one, other]).rows
        if (row.id, row.stat) == ("output_throughput", "window")
    )
    ratio = row.ratios[1]
    assert ratio is not None
    assert ratio.verdict == verdict


@pytest.mark.parametrize("contrast", ["ratio", "difference"])
def test_requests_that_fared_alike_in_both_do_not_show_that_all_would(contrast: Contrast) -> None:
    """None of 400 differed: of all, at 95 %, up to 3 in 400 may."""
    one, other = Observed(run_of(seed=0)), Observed(run_of(seed=1))
    rate = QUANTITIES["request_throughput.window"]
    found = examine(one, other, rate, contrast=contrast).estimate
    assert found is not None
    per_s = rate.value(one.stored.result)
    assert per_s is not None
    middle, margin = (1.0, 3 / 400) if contrast == "ratio" else (0.0, per_s * 3 / 400)
    assert found.value == pytest.approx(middle)
    assert (found.low, found.high) == pytest.approx((middle - margin, middle + margin), rel=1e-2)


@pytest.mark.parametrize("contrast", ["ratio", "difference"])
@pytest.mark.parametrize("name", ["goodput_share.run", "goodput.run", "goodput.window"])
def test_of_few_that_keep_a_limit_three_requests_more_are_a_larger_part(
    name: str, contrast: Contrast
) -> None:
    """All 150 fared alike, and about one in seven kept the limit: up to 3 of all may differ, which
    is a seventh of 100 % of those that kept it, not 2 %."""
    run = Observed(run_in_turn(9.0, slo_s=0.0555))
    quantity = QUANTITIES[name]
    found = examine(run, run, quantity, contrast=contrast)
    assert found.baseline is not None
    assert found.estimate is not None
    rate = QUANTITIES["request_throughput.run"].value(run.stored.result)
    assert rate is not None
    of_all = 1.0 if name == "goodput_share.run" else rate
    assert 0.1 < found.baseline / of_all < 0.2
    whole = of_all / found.baseline if contrast == "ratio" else of_all
    assert found.estimate.high - found.estimate.value == pytest.approx(whole * 3 / 150, rel=0.05)
    assert found.estimate.value - found.estimate.low == pytest.approx(whole * 3 / 150, rel=0.05)


def test_a_gate_of_a_share_that_few_keep_does_not_pass_by_the_share_of_all() -> None:
    run = run_in_turn(9.0, slo_s=0.0555)
    rules = [parse_rule("goodput_share.run=5%")]
    assert [row.verdict for row in gate(run, run, rules).rows] == ["inconclusive"]
