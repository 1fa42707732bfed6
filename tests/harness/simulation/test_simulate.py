"""A simulated run: scheduled as on the wall clock, with the hardware's memory, the same twice."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llmbench.engines import clock as clocks
from llmbench.engines.clock import Clock, VirtualClock, WallClock
from llmbench.engines.config import engine_config
from llmbench.engines.core import EngineCore
from llmbench.engines.cost.calibrated import Calibration
from llmbench.engines.cost.fit import fit_calibration
from llmbench.engines.cost.published import compare_with_published
from llmbench.engines.cost.work import StepWork
from llmbench.engines.errors import ConfigError
from llmbench.engines.executors.base import Executor, StepResult
from llmbench.engines.executors.simulated import SimulatedExecutor
from llmbench.engines.kv.base import KVPlacement, Move
from llmbench.engines.presets import PRESETS
from llmbench.engines.step import Limits, StepPlan
from llmbench.engines.strategy import build_kv, compose
from llmbench.engines.trace import PhaseTimes
from llmbench.harness.config import LoadConfig, RunConfig
from llmbench.harness.run.drive import Observation, drive
from llmbench.harness.run.watch import Silent
from llmbench.harness.simulation.simulate import (
    prepare_simulation,
    simulate,
)
from llmbench.harness.simulation.simulated_machine import Machine
from llmbench.harness.simulation.simulation_error import roofline_error
from llmbench.workloads.api import Plan, PlannedRequest

from ...engines.cost.test_calibrated import measure as measured_steps

LENGTH = 48
PRESET_NAMES = [preset.name for preset in PRESETS]


def step_s(tokens: float) -> float:
    """Dyadic, so that sums are exact on both clocks."""
    return (4 + tokens) / 1024


class Tokens:
    """A cost model that knows a step's tokens only."""

    def price(self, work: StepWork) -> PhaseTimes:
        return PhaseTimes(linear_s=step_s(work.tokens))


class World:
    """Real time, made up: it passes where somebody sleeps."""

    def __init__(self) -> None:
        self.time_s = 1000.0

    def perf_counter(self) -> float:
        return self.time_s

    def sleep(self, duration_s: float) -> None:
        self.time_s += duration_s


class Sleeping:
    """An executor on the wall clock: its steps take as long as `Tokens` says, by sleeping."""

    def __init__(self, world: World) -> None:
        self.world = world

    def execute(self, plan: StepPlan, kv: KVPlacement, moves: Sequence[Move]) -> StepResult:
        del kv, moves
        self.world.sleep(step_s(plan.tokens))
        tails = [chunk for chunk in plan.chunks if chunk.reaches_tail]
        return StepResult([7] * sum(chunk.request.samples for chunk in tails))


def serve(preset: str, plan: Plan, clock: Clock, executor: Executor) -> Observation:
    engine = replace(engine_config(preset), block_size=4)
    limits = Limits(4, LENGTH, LENGTH)
    strategy = compose(engine, limits, build_kv(engine, limits, 2 * LENGTH, LENGTH))
    return drive(EngineCore(strategy, executor, clock), clock, plan)


requests = st.lists(
    st.tuples(
        st.integers(0, 60),  # a gap before it, in 1/1024 s
        st.integers(1, 24),
        st.integers(1, 24),
        st.integers(1, 2),  # samples
    ),
    min_size=1,
    max_size=12,
)


def plan_of(rows: Sequence[tuple[int, int, int, int]]) -> Plan:
    due, made = 0, []
    for index, (gap, prompt, output, samples) in enumerate(rows):
        due += gap
        tokens = tuple(100 * index + place for place in range(prompt))
        made.append(PlannedRequest(index, due / 1024, tokens, output, samples))
    return Plan(tuple(made), None)


@pytest.mark.parametrize("preset", PRESET_NAMES)
@settings(max_examples=25, deadline=None)
@given(rows=requests)
def test_a_schedule_is_the_same_on_the_wall_clock_and_on_the_virtual_one(preset, rows) -> None:
    plan = plan_of(rows)
    virtual = VirtualClock()
    simulated = serve(preset, plan, virtual, SimulatedExecutor(Tokens(), virtual))
    world = World()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clocks, "time", world)
        real = serve(preset, plan, WallClock(), Sleeping(world))
    assert len(real.steps) == len(simulated.steps)
    for one, other in zip(real.steps, simulated.steps, strict=True):
        assert list(one.chunks) == list(other.chunks)
        assert (one.start_s, one.end_s) == (other.start_s, other.end_s)
        assert (one.preempted, one.swapped_out, one.refused) == (
            other.preempted,
            other.swapped_out,
            other.refused,
        )
    times = [record.token_times_s for record in real.records]
    assert times == [record.token_times_s for record in simulated.records]


def config(model: str = "llama-3-8b", count: int = 4, **engine: object) -> RunConfig:
    preset = str(engine.pop("engine", "paged"))
    load = LoadConfig(workload="azure-conv", num_requests=count, request_rate=50.0)
    return RunConfig(model, engine_config(preset, **engine), load, slo_s={"ttft": 0.5})


def test_the_kv_pool_is_what_weights_and_steps_leave() -> None:
    # Llama-3-8B: q and o 4096 x 4096, k and v 1024 x 4096, gate, up and down 14336 x 4096.
    layer = 2 * 4096 * 4096 + 2 * 1024 * 4096 + 3 * 14336 * 4096
    weight_bytes = 2 * (32 * layer + 2 * 128256 * 4096)
    # Keys and values, 32 layers, 8 KV heads of 128, two bytes.
    token_bytes = 2 * 32 * 8 * 128 * 2
    # The largest step: 8192 tokens (hidden 4096 twice, a head's 128, gate, up and their product),
    # 256 rows of logits of 11 bytes. Graphs: 256 rows (logits twice), 8 MiB for each of 35.
    step_bytes = 8192 * (2 * 4096 + 128 + 3 * 14336) * 2 + 256 * 128256 * 11
    widest = 2 * 128256 + 4 * 4096 + 2 * 4096 + 2 * 1024 + 3 * 14336
    graph_bytes = 256 * widest * 2 + 35 * 8 * 2**20
    taken = weight_bytes + step_bytes + graph_bytes
    tokens = int(0.9 * (79.65 * 2**30 - taken) / token_bytes)
    assert tokens == 465_551
    prepared = prepare_simulation(config(), Machine("h100"))
    assert prepared.pool_tokens == tokens
    assert prepared.engine.kv_memory_bytes == tokens * token_bytes
    result = simulate(prepared, Silent()).result
    assert result.memory is not None
    assert result.memory.kv_bytes == tokens // 16 * 16 * token_bytes
    assert result.memory.peak_rss_bytes is None


def test_eight_bit_keys_and_values_nearly_double_the_pool() -> None:
    """A head's 128 take 256 bytes, and as codes 128 and a scale of two."""
    full = prepare_simulation(config(), Machine("h100"))
    half = prepare_simulation(config(kv_dtype="fp8"), Machine("h100"))
    assert half.pool_tokens == pytest.approx(full.pool_tokens * 256 / 130, abs=2)
    assert half.engine.kv_memory_bytes == half.pool_tokens * 2 * 32 * 8 * 130


@pytest.mark.parametrize(("kv_dtype", "head_bytes"), [("auto", 256), ("fp8", 130), ("int8", 130)])
def test_what_is_asked_of_the_pool_is_given(kv_dtype: str, head_bytes: int) -> None:
    prepared = prepare_simulation(config(kv_dtype=kv_dtype, kv_memory_bytes=2**31), Machine("h100"))
    assert prepared.pool_tokens == 2**31 // (2 * 32 * 8 * head_bytes)


def test_a_result_says_what_it_stands_on() -> None:
    prepared = prepare_simulation(
        config("llama-3-70b", engine="trtllm"), Machine("h100", devices=4)
    )
    result = simulate(prepared, Silent()).result
    assert result.created_at is None
    assert result.simulation is not None
    assert (result.simulation.hardware, result.simulation.devices) == ("h100", 4)
    assert result.simulation.error == roofline_error()
    assert result.config["simulated"] is True
    assert result.config["tensor_parallel"] == 4


def test_the_error_of_a_roofline_is_what_was_checked_and_what_was_not() -> None:
    """Each title of the published table but those of the H100, with its worst errors."""
    said, unchecked = roofline_error().split(". Other ")
    fitted, _, _, *others = compare_with_published()
    held_out = [abs(one.error) for one in fitted.predictions if not one.fitted]
    assert f"on an H100 within {100 * max(held_out):.1f} % on the {len(held_out)} shapes" in said
    assert [part.title for part in others] == ["H200", "Llama-3.3-70B on two H100"]
    for part in others:
        errors = [one.error for one in part.predictions]
        worst = f"{100 * min(errors):+.1f} % to {100 * max(errors):+.1f} %"
        assert f"{part.title} {worst.replace('-', chr(0x2212))}" in said
    assert unchecked.startswith("models, devices and engines were not checked; latencies were")


def test_the_same_settings_give_the_same_result_twice_from_one_preparation() -> None:
    prepared = prepare_simulation(config(count=8), Machine())
    first, second = simulate(prepared, Silent()), simulate(prepared, Silent())
    assert first.result == second.result
    assert first.requests.equals(second.requests)
    assert first.steps.equals(second.steps)
    other = simulate(prepare_simulation(replace(config(count=8), seed=1), Machine()), Silent())
    assert other.result.run_id != first.result.run_id


def test_steps_beyond_a_calibration_are_counted_for_each_run_by_itself() -> None:
    machine = Machine(calibration=calibration())
    prepared = prepare_simulation(config("bundled", kv_memory_bytes=2**26), machine)
    first, second = simulate(prepared, Silent()), simulate(prepared, Silent())
    assert first.result.simulation is not None
    assert first.result.simulation.cost_model == "calibrated"
    assert first.result.simulation.extrapolated_steps > 0
    assert first.result == second.result


def calibration(model: str = "bundled") -> Calibration:
    settings = {"dtype": "float32", "quant": "none", "kv": "paged", "kv_dtype": "auto"}
    return fit_calibration(
        measured_steps(300, seed=1), model=model, machine="a machine", settings=settings
    )


NO_HOST_LINK = """
mine:
  peak_tflops: {bf16: 900}
  memory_gib: 80
  memory_gb_per_s: 3000
  step_overhead_ms: 0.2
  sources: {peak_tflops: a test}
"""


@pytest.mark.parametrize(
    ("given_config", "machine", "words"),
    [
        (
            config("llama-3-70b"),
            Machine("h100"),
            ("tensor_parallel: 1", "2 or more devices", "85.5 GB, 141.1 GB for weights"),
        ),
        (config(), Machine("h10"), ("hardware: 'h10'", "did you mean 'h100'?")),
        (config("llama-3-9b"), Machine(), ("model: 'llama-3-9b'", "did you mean 'llama-3-8b'?")),
        (
            config(kv_memory_bytes=900 * 2**30),
            Machine("h100"),
            ("kv_memory: '7372800 tokens'", "at most the 465551 that 1 x h100 have room for"),
        ),
        (config("llama-3-8b"), Machine(devices=3), ("tensor_parallel: 3", "a divisor of 32 heads")),
        (config(), Machine(free_memory_fraction=1.5), ("free_memory_fraction: 1.5",)),
        (config(quant="fp8"), Machine("a100"), ("quant: 'fp8'", "a100")),
        (config(quant="fp8+a8"), Machine("h100"), ("quant: 'fp8+a8'", "4-bit integer weights")),
    ],
)
def test_what_cannot_be_simulated_is_said_in_one_line(given_config, machine, words) -> None:
    with pytest.raises(ConfigError) as caught:
        prepare_simulation(given_config, machine)
    assert_one_line(caught.value, words)


def test_a_setting_that_no_result_can_hold_is_found_before_the_run() -> None:
    with pytest.raises(ConfigError, match=r"slo\.ttft: inf is not allowed"):
        prepare_simulation(replace(config(), slo_s={"ttft": math.inf}), Machine())


def test_swapping_needs_a_way_to_the_host(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(NO_HOST_LINK)
    prepare_simulation(config(engine="vllm-v1"), Machine(str(path)))
    with pytest.raises(ConfigError) as caught:
        prepare_simulation(config(engine="vllm-v1", preemption="swap"), Machine(str(path)))
    assert_one_line(caught.value, ("hardware.host_link", "gb_per_s and latency_us for mine"))


@pytest.mark.parametrize(
    ("given_config", "words"),
    [
        (config("llama-3-8b"), ("model: 'llama-3-8b'", "bundled, which was calibrated")),
        (config("bundled", quant="awq"), ("quant: 'awq'", "none, which was calibrated")),
        (config("bundled", engine="inflight"), ("kv: 'contiguous'", "paged, which was")),
        (config("bundled", dtype="bfloat16"), ("dtype: 'bfloat16'", "float32")),
        (config("bundled", preemption="swap"), ("preemption: 'swap'", "no swap was calibrated")),
    ],
)
def test_a_calibration_prices_what_it_measured_and_nothing_else(given_config, words) -> None:
    with pytest.raises(ConfigError) as caught:
        prepare_simulation(given_config, Machine(calibration=calibration()))
    assert_one_line(caught.value, words)


def assert_one_line(error: Exception, words: Sequence[str]) -> None:
    text = str(error)
    assert "\n" not in text
    for word in words:
        assert word in text


def test_shares_of_the_peaks_stay_below_what_the_cost_model_lets_kernels_reach() -> None:
    """0.52 of arithmetic, 0.83 of bandwidth, less the fixed overhead of a step."""
    result = simulate(prepare_simulation(config(count=20), Machine("h100")), Silent()).result
    mfu, mbu = (result.metrics[name].stats for name in ("mfu", "mbu"))
    assert result.peaks is not None
    assert (result.peaks.flops_per_s, result.peaks.bytes_per_s) == (989.5e12, 3.35e12)
    assert 0.4 < mfu["prefill"] < 0.52
    assert 0.7 < mbu["decode"] < 0.83
    assert result.absent == {"energy_per_token": "a simulated machine draws no power"}
    assert result.validity.checks[-1].ok


def test_weights_in_eight_bits_are_held_against_the_peak_of_eight_bits() -> None:
    result = simulate(prepare_simulation(config(quant="fp8"), Machine("h100")), Silent()).result
    assert result.peaks is not None
    assert (result.peaks.dtype, result.peaks.flops_per_s) == ("fp8", 1979e12)


def test_each_of_four_devices_does_a_quarter_of_the_work() -> None:
    one, four = (
        simulate(prepare_simulation(config(), Machine("h100", devices=devices)), Silent()).result
        for devices in (1, 4)
    )
    # Shorter steps, with communication in them: busy for less of its peak, but of the same order.
    shares = [result.metrics["mbu"].stats["decode"] for result in (one, four)]
    assert 0.3 * shares[0] < shares[1] < shares[0]


def test_the_cost_is_the_price_over_the_windows_tokens() -> None:
    priced = replace(config(), price_per_hour=2.5)
    result = simulate(prepare_simulation(priced, Machine("h100")), Silent()).result
    tokens_per_s = result.metrics["output_throughput"].stats["window"]
    cost = result.metrics["cost_per_million_tokens"].stats["output"]
    assert cost == pytest.approx(2.5 * 1e6 / (3600 * tokens_per_s))
    assert result.config["price_per_hour"] == 2.5
    assert (
        "price_per_hour"
        not in simulate(prepare_simulation(config(), Machine("h100")), Silent()).result.config
    )
