"""The capacity of the real policies on a machine so simple that it can be worked out by hand."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from llmbench.engines.config import engine_config
from llmbench.engines.cost.work import StepWork
from llmbench.engines.errors import ConfigError
from llmbench.engines.trace import PhaseTimes
from llmbench.harness.cli.capacity_tables import (
    notes,
    sentence,
)
from llmbench.harness.config import LoadConfig, RunConfig
from llmbench.harness.run.watch import Silent
from llmbench.harness.simulation.capacity_goal import CapacityGoal
from llmbench.harness.simulation.simulate import PreparedSimulation
from llmbench.harness.simulation.simulated_capacity import (
    engine_capacity,
    prepare_capacity,
)
from llmbench.harness.simulation.simulated_machine import Machine
from llmbench.workloads.api import Plan, PlannedRequest

STEP_S = 0.125


class Constant:
    """Every step takes an eighth of a second, whatever is in it, or `factor` times as long."""

    def __init__(self, factor: float = 1.0) -> None:
        self.factor = factor

    def price(self, work: StepWork) -> PhaseTimes:
        del work
        return PhaseTimes(linear_s=STEP_S * self.factor)


def one_by_one(count: int, output_tokens: int = 1, seqs: int = 1) -> PreparedSimulation:
    """Requests one second apart, served one at a time: a D/D/1 queue."""
    config = RunConfig(
        "llama-3-8b",
        engine_config("paged", max_num_seqs=seqs, max_model_len=64),
        LoadConfig(workload="fixed", request_rate=1.0, arrival="constant"),
        slo_s={},
    )
    plan = Plan(
        tuple(
            PlannedRequest(at, float(at), tuple(range(at, at + 8)), output_tokens)
            for at in range(count)
        ),
        None,
        description={
            "name": "one by one",
            "request_rate_per_s": 1.0,
            "offered_rate_per_s": 1.0,
            "samples": 1,
        },
    )
    prepared = prepare_capacity(config, Machine())
    return replace(prepared, plan=plan, cost=Constant())


def test_no_waiting_is_one_request_a_step() -> None:
    """With gaps of a step or more nobody waits; with shorter ones all but the first do."""
    goal = CapacityGoal({"ttft": STEP_S * 1.0001}, attainment=0.9, rate_tolerance=0.01)
    found = engine_capacity(one_by_one(50), goal, Silent())
    assert found.search.outcome == "found"
    assert found.search.holds is not None
    assert found.search.holds.rate_per_s == pytest.approx(1 / STEP_S, rel=0.01)
    assert found.search.holds.rate_per_s <= 1 / STEP_S * 1.0001
    assert found.binds == ("ttft",)


def test_a_limit_that_lets_some_wait() -> None:
    """Request i waits i (D - g) for gaps g below a step D, so its TTFT is D + i (D - g). Within a
    limit L are those with i <= (L - D) / (D - g). Of 100 requests 90 must be: i = 89 is the last,
    and g = D - (L - D) / 89. With D = 0.125 s and L = 1.125 s: g = 0.125 - 1 / 89 s."""
    capacity = 1 / (STEP_S - 1 / 89)
    assert capacity == pytest.approx(8.79, abs=0.01)
    goal = CapacityGoal({"ttft": STEP_S + 1}, attainment=0.9, rate_tolerance=0.005)
    found = engine_capacity(one_by_one(100), goal, Silent())
    assert found.search.holds is not None
    assert found.search.fails is not None
    assert found.search.holds.rate_per_s <= capacity * (1 + 1e-9)
    assert found.search.fails.rate_per_s >= capacity * (1 - 1e-9)
    assert found.search.holds.rate_per_s == pytest.approx(capacity, rel=0.005)
    # The run that is kept is the one at the rate found.
    assert found.run is not None
    assert found.run.result.config["request_rate"] == pytest.approx(found.search.holds.rate_per_s)
    assert found.run.result.counters.requests_ok == 100
    # All arrivals take 100 gaps of 0.114 s, a mean latency half a second.
    assert found.burst is not None
    assert found.burst == pytest.approx(99 / capacity / (STEP_S + 49.5 / 89), rel=0.03)


def test_a_limit_that_is_met_by_a_hair_is_not_if_latencies_are_too_short() -> None:
    """Of the queue above, with a limit of L (1 - 0.07) and L (1 - 0.23)."""
    goal = CapacityGoal({"ttft": STEP_S + 1}, attainment=0.9, rate_tolerance=0.01)
    found = engine_capacity(one_by_one(100), goal, Silent())
    for too_short, rate_per_s in found.if_too_short:
        stricter = goal.slo_s["ttft"] * (1 - too_short)
        tried = [one.rate_per_s for one in found.search.trials]
        holds = [at for at in tried if at <= 1 / (STEP_S - (stricter - STEP_S) / 89)]
        assert rate_per_s == max(holds) < found.capacity_per_s


def test_a_limit_below_one_step_holds_at_no_rate_and_the_sentence_says_by_how_much() -> None:
    goal = CapacityGoal({"ttft": STEP_S / 2, "tpot": 9.0}, attainment=0.9)
    found = engine_capacity(one_by_one(10, output_tokens=2), goal, Silent())
    assert found.search.outcome == "never"
    assert found.run is None
    assert found.binds == ("ttft",)
    text = sentence(found, goal)
    assert "at no rate: at 0.00100 requests/s 0 % keep it" in text
    assert "TTFT: 90 % stay within 125 ms, 2.00× the limit" in text
    assert "tpot:" not in text


def test_a_limit_above_the_whole_run_holds_at_any_rate() -> None:
    """Ten requests of a step each, all at once: the last has waited nine steps."""
    goal = CapacityGoal({"ttft": 10 * STEP_S}, attainment=1.0)
    found = engine_capacity(one_by_one(10), goal, Silent())
    assert found.search.outcome == "always"
    assert found.limits == ()
    assert found.binds == ()
    assert found.run is not None
    assert found.run.result.config["request_rate"] is None
    assert found.run.result.metrics["ttft"].stats["max"] == pytest.approx(10 * STEP_S)
    assert "at any rate, even with all requests sent at once" in sentence(found, goal)


def test_tpot_binds_where_prompts_interrupt_decodes() -> None:
    """Three tokens are two gaps. Alone each gap is a step; a prompt step in between is one more,
    so a request that is interrupted once has a TPOT of 1.5 steps. Prompts of others fall between
    its tokens as soon as requests overlap, that is, with gaps below its three steps."""
    goal = CapacityGoal({"ttft": 99.0, "tpot": STEP_S * 1.25}, attainment=0.9, rate_tolerance=0.01)
    found = engine_capacity(one_by_one(60, output_tokens=3, seqs=8), goal, Silent())
    assert found.search.holds is not None
    assert found.search.holds.rate_per_s == pytest.approx(1 / (3 * STEP_S), rel=0.3)
    assert found.binds == ("tpot",)


def test_what_a_burst_measures_is_said() -> None:
    """Of six requests all must stay within four steps, so the last, i = 5, waits three at most:
    5 (D - g) <= 3 D, g = 0.4 D. Arrivals take two steps, a mean latency two and a half."""
    goal = CapacityGoal({"ttft": STEP_S * 4}, attainment=0.9)
    found = engine_capacity(one_by_one(6), goal, Silent())
    assert found.burst == pytest.approx(2 / 2.5, rel=0.05)
    assert any("the capacity of a burst" in text for text in notes(found))
    lasting = engine_capacity(one_by_one(200), goal, Silent())
    assert not any("burst" in text for text in notes(lasting))


class Told(Silent):
    def __init__(self) -> None:
        self.stages: list[str] = []

    def stage(self, text: str) -> None:
        self.stages.append(text)


def test_progress_says_which_share_is_of_which_rate() -> None:
    told = Told()
    goal = CapacityGoal({"ttft": STEP_S * 1.0001}, attainment=0.9, rate_tolerance=0.5)
    found = engine_capacity(one_by_one(50), goal, told)
    tried = [re.search(r"trying (.+)$", text) for text in told.stages[:-1]]
    assert all(tried)
    for before, after in zip(tried, told.stages[1:], strict=True):
        assert before is not None
        assert f"keep the SLO at {before[1]}; " in after
    said = {trial.rate_per_s: trial.attained for trial in found.search.trials}
    assert told.stages[1].startswith(
        f"paged: {100 * said[1.0]:.2f} % keep the SLO at 1 requests/s; "
    )


def test_requests_that_queue_for_each_other_count_for_less() -> None:
    """Request i waits i (D - g): once one misses the limit, all after it do. Just above capacity
    the last batch of ten misses it, and one request or more before."""
    goal = CapacityGoal({"ttft": STEP_S + 1}, attainment=0.9, rate_tolerance=0.005)
    found = engine_capacity(one_by_one(100), goal, Silent())
    assert found.judged == 100
    # Ten batches, of which the last holds nearly all misses.
    assert found.effective < 10
    assert found.interval_per_s[0] == 0.0
    always = engine_capacity(one_by_one(10), CapacityGoal({"ttft": 99.0}), Silent())
    assert always.effective == always.judged == 10


def test_too_few_requests_and_an_unsteady_run_are_said_in_a_sentence_each() -> None:
    goal = CapacityGoal({"ttft": STEP_S * 4}, attainment=0.9)
    few = engine_capacity(one_by_one(6), goal, Silent())
    # Three batches of two, of which the last has a miss: shares 1, 1 and 1/2, whose mean has the
    # variance 1 / 36, times (4.303 / 1.960)^2 for three batches. 5/36 / (4.82 / 36) = 1.04.
    assert (
        "6 requests count as 1 that do not wait for each other, too few to show that 90 % keep the "
        "SLO at any rate; it takes 35: send several times as many (--num-requests)"
    ) in notes(few)
    assert "(95 %: not known), in a burst: not shown for a lasting load; " in sentence(few, goal)
    (unsteady,) = (text for text in notes(few) if "steady" in text)
    assert unsteady.startswith("no steady window: rates are over the whole run, since ")
    assert unsteady.count(":") == 1
    enough = replace(few, effective=35.0)
    assert not any("too few to show" in text for text in notes(enough))


@pytest.mark.parametrize(
    ("load", "kind", "rate"),
    [
        (LoadConfig(workload="azure-conv"), "gamma", 5.53),
        (LoadConfig(workload="azure-conv", max_concurrency=8), "gamma", 5.53),
        (LoadConfig(workload="quick"), "poisson", 1.0),
        (LoadConfig(workload="azure-conv", arrival="constant"), "constant", 5.53),
    ],
)
def test_every_workload_gets_a_rate_to_change(load: LoadConfig, kind: str, rate: float) -> None:
    config = RunConfig("llama-3-8b", engine_config("paged"), replace(load, num_requests=4))
    plan = prepare_capacity(config, Machine()).plan
    arrivals = plan.description["arrivals"]
    assert isinstance(arrivals, dict)
    assert arrivals["kind"] == kind
    assert plan.description["request_rate_per_s"] == rate
    assert plan.max_concurrency == load.max_concurrency
    assert all(request.t_due_s is not None for request in plan.requests)


def test_an_objective_is_needed_and_must_judge_somebody() -> None:
    with pytest.raises(
        ConfigError, match=r"slo: missing; expected limits.* a preset: llama2-70b, "
    ):
        engine_capacity(one_by_one(4), CapacityGoal({}), Silent())
    with pytest.raises(ConfigError, match="some request can be judged on"):
        engine_capacity(one_by_one(4), CapacityGoal({"tpot": 1.0}), Silent())


RAMP = {"kind": "linear_ramp", "start_rate_per_s": 1, "end_rate_per_s": 9, "duration_s": 5}


@pytest.mark.parametrize(
    "arrivals",
    [
        RAMP,
        {"kind": "clients", "clients": [{"rate_per_s": 2, "cv": 3}, {"rate_per_s": 1}]},
        {"kind": "stages", "stages": [{"arrivals": RAMP}]},
        {"kind": "on_off", "on_rate_per_s": 9, "mean_on_s": 1, "mean_off_s": 1},
        {"kind": "modulated", "rate_per_s": 4, "period_s": 2, "rate_cv": 1},
    ],
    ids=lambda arrivals: arrivals["kind"],
)
def test_arrivals_whose_gaps_can_be_scaled_stay_what_they_are(
    arrivals: dict[str, object], tmp_path: Path
) -> None:
    """A search that took Poisson for them would find the capacity of another load."""
    tokens = {"kind": "fixed", "tokens": 8}
    lengths = {"kind": "sampled", "input": tokens, "output": tokens}
    count = {} if arrivals["kind"] in ("linear_ramp", "stages") else {"num_requests": 20}
    path = tmp_path / "w.yaml"
    path.write_text(json.dumps({**count, "arrivals": arrivals, "lengths": lengths}))
    config = RunConfig("llama-3-8b", engine_config("paged"), LoadConfig(workload=str(path)))
    plan = prepare_capacity(config, Machine("h100")).plan
    kept = plan.description["arrivals"]
    assert isinstance(kept, dict)
    assert kept["kind"] == arrivals["kind"]
    assert plan.adjustments == ()
