"""What a run's quantities are resampled by gives back the numbers that the run has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from llmbench.engines.trace import Holding, Holdings, StepTrace
from llmbench.harness.comparison.compare import compare
from llmbench.harness.comparison.observed import Cut, Observed, can_be_resampled
from llmbench.harness.comparison.quantities import QUANTITIES
from llmbench.harness.gate.rules import parse_rule
from llmbench.harness.gate.runs import GateOutcome, gate
from llmbench.harness.metrics import CostPerMillionTokens
from llmbench.harness.result import Metric, Result
from llmbench.harness.stats.bootstrap import Statistic
from llmbench.harness.storage.store import StoredRun
from llmbench.reports.model import Ratio

from ..observed import make_request, serve_in_turn
from ..stored import SIMULATION, stored_run

PRICE = 2.5
USED = {"mfu": 0.5, "mbu": 0.7, "energy_per_token": 0.01}


def with_metrics(result: Result, slower: float) -> Result:
    """What a run with a price, on a machine whose peaks and energy are known, has as well."""
    cost = CostPerMillionTokens(PRICE)
    rate = result.metrics["output_throughput"].stats["window"]
    stats = {cost.id: {"output": cost.of(rate) or 0.0}}
    for name, value in USED.items():
        stats[name] = {"output" if "energy" in name else "run": value / slower}
    made = {name: Metric(unit="", better="none", stats=found) for name, found in stats.items()}
    return result.model_copy(update={"metrics": {**result.metrics, **made}})


def run_of(
    step_s: float = 0.01, *, seed: int = 1, count: int = 150, simulated: bool = False
) -> StoredRun:
    """A closed loop of one, whose steps take `step_s` give or take a fifth."""
    rng = np.random.default_rng(seed)
    requests, steps = serve_in_turn(count, step_s=lambda: float(step_s * rng.lognormal(0, 0.2)))
    run = stored_run(
        requests,
        steps,
        label=f"{step_s:g} {seed}",
        config={"price_per_hour": PRICE},
        simulation=SIMULATION if simulated else None,
    )
    result = with_metrics(run.result, step_s / 0.01)
    return StoredRun(run.directory, result, run.requests, run.steps)


@pytest.mark.parametrize(
    "name",
    [
        *("output_throughput.window", "total_throughput.run", "request_throughput.window"),
        *("ttft.mean", "itl.mean", "tpot.mean", "cost_per_million_tokens.output"),
        *("batch_tokens.mean", "batch_requests.mean", "budget_utilisation.mean"),
        "kv.waste_share",
    ],
)
@pytest.mark.parametrize("cut", ["time", "work"])
def test_the_sample_has_the_number(name: str, cut: Cut) -> None:
    seed = int(np.random.default_rng().integers(1 << 30))
    run, quantity = run_of(seed=seed), QUANTITIES[name]
    assert can_be_resampled(quantity)
    value = Statistic(quantity.q).of(Observed(run).sample(quantity, cut))
    assert value == pytest.approx(quantity.value(run.result), rel=1e-3)


def test_what_is_one_number_a_run_has_no_sample() -> None:
    for name in ("mfu.run", "mbu.decode", "energy_per_token.output", "counters.steps"):
        assert not can_be_resampled(QUANTITIES[name])
        with pytest.raises(ValueError, match="as a whole only"):
            Observed(run_of(count=5)).sample(QUANTITIES[name])


def test_who_cannot_be_judged_is_no_unit_of_the_share_that_keeps_the_slo() -> None:
    """A reply of one token has no pace that it could keep or miss."""
    times_s = [(0.1,), (0.1, 0.14), (0.1,), (0.1, 0.12)]
    requests = [make_request(one, index=at) for at, one in enumerate(times_s)]
    run = stored_run(requests, (), slo={"tpot": 0.05})
    sample = Observed(run).sample(QUANTITIES["goodput_share.run"])
    assert sample.values.tolist() == [1, 1]
    assert sample.units.tolist() == [1, 3]


def ratios(before: StoredRun, after: StoredRun) -> dict[str, Ratio]:
    return {
        row.name: ratio
        for row in compare([before, after]).rows
        if (ratio := row.ratios[1]) is not None
    }


def gated(before: StoredRun, after: StoredRun, *rules: str) -> GateOutcome:
    return gate(before, after, [parse_rule(rule) for rule in rules])


def verdicts(outcome: GateOutcome) -> list[str]:
    return [row.verdict for row in outcome.rows]


def test_cost_is_as_sure_as_the_throughput_that_it_is_the_inverse_of() -> None:
    found = ratios(run_of(), run_of(0.013, seed=2))
    rate, cost = found["output_throughput.window"], found["cost_per_million_tokens.output"]
    assert (rate.verdict, cost.verdict) == ("worse", "worse")
    assert rate.low is not None
    assert rate.high is not None
    assert (cost.low, cost.high) == pytest.approx((1 / rate.high, 1 / rate.low), rel=5e-3)


def test_three_seconds_that_differ_by_six_percent_decide_no_cost() -> None:
    before, after = run_of(0.0026), run_of(0.00276, seed=2)
    found = ratios(before, after)
    assert found["output_throughput.window"].verdict == "inconclusive"
    assert found["cost_per_million_tokens.output"].verdict == "inconclusive"
    outcome = gated(before, after, "cost.output=5%", "output_throughput.window=5%")
    assert (verdicts(outcome), outcome.exit_code) == (["inconclusive"] * 2, 4)


@pytest.mark.parametrize("name", ["mfu.run", "mbu.run", "energy.output"])
def test_one_number_a_run_decides_nothing_where_it_was_measured(name: str) -> None:
    before, after = run_of(), run_of(0.02, seed=2)
    outcome = gated(before, after, f"{name}=1%")
    assert (verdicts(outcome), outcome.exit_code) == (["inconclusive"], 4)
    assert "repeats do" in outcome.rows[0].note
    full = name.replace("energy", "energy_per_token")
    if full in ratios(before, after):
        assert ratios(before, after)[full].verdict == "inconclusive"
    virtual = gated(run_of(simulated=True), run_of(0.02, seed=2, simulated=True), "mfu.run=1%")
    assert verdicts(virtual) == ["regressed"]


def test_a_measured_rule_is_warned_of_and_a_count_is_not() -> None:
    before, after = run_of(), run_of(seed=2)

    def warned(rule: str) -> bool:
        return any("weak evidence" in one for one in gated(before, after, rule).warnings)

    for rule in ("mbu.run=5%", "cost.output=5%", "kv.waste_share=0.1", "tpot.mean=5%"):
        assert warned(rule), rule
    assert not warned("preemptions=exact")


def test_one_number_a_run_takes_no_share_of_the_chance_of_error() -> None:
    before, after = run_of(), run_of(0.0105, seed=2)
    (alone,) = gated(before, after, "ttft.mean=5%").rows
    among = gated(before, after, "mfu.run=1%", "ttft.mean=5%", "mbu.run=1%").rows[1]
    assert (among.low, among.high) == (alone.low, alone.high)


def held_by(steps: Sequence[StepTrace], held: Sequence[int]) -> list[StepTrace]:
    """The steps, with so much room set aside in each."""
    return [
        replace(step, kv=replace(step.kv, holdings=Holdings.of((Holding(*one, tokens),))))
        for step, tokens in zip(steps, held, strict=True)
        for one in [(step.chunks.request_ids[0], step.chunks.starts[0] + step.chunks.lengths[0])]
    ]


def test_waste_has_an_interval_over_time() -> None:
    """Room held beside what is used: much in some minutes, little in others, the same on average.
    Two runs show that nothing is decided; half of it everywhere is a difference."""
    rng = np.random.default_rng(5)
    requests, steps = serve_in_turn(150)

    def waste(factor: float) -> StoredRun:
        room = [16 + int(factor * extra) for extra in rng.lognormal(3, 1, len(steps))]
        return stored_run(requests, held_by(steps, room))

    same, less = ratios(waste(1), waste(1)), ratios(waste(1), waste(0.2))
    ratio = same["kv.waste_share"]
    assert ratio.low is not None
    assert ratio.high is not None
    assert ratio.low < ratio.value < ratio.high
    assert ratio.verdict in ("same", "inconclusive")
    assert less["kv.waste_share"].verdict == "better"
