"""One simulated run: the same policies, clockwork and measurements, with a cost model for a model.

Nothing here reads a weight or a clock, so the same settings give the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from ...engines.clock import VirtualClock
from ...engines.core import EngineCore
from ...engines.cost.hardware import resolve_hardware
from ...engines.cost.roofline import CostModel
from ...engines.cost.shapes import config_file, read_shape
from ...engines.cost.weights import SHORT_DTYPE, WeightChoice
from ...engines.cost.work import model_work
from ...engines.executors.simulated import SimulatedExecutor
from ...engines.kv.usage import KVSplit
from ...engines.models.config import ModelConfig
from ...engines.resolved import ResolvedEngine
from ...engines.step import Limits
from ...engines.strategy import build_strategy
from ...reports.format import plural
from ...workloads.api import LengthLimits, Plan
from ..config import LoadConfig, RunConfig
from ..machine.counted_model import count_model
from ..machine.peaks import peaks_of_hardware
from ..machine.resources import Resources, add_resources, not_seen
from ..metrics.kv import KVPool, split_steps
from ..result import Memory, Result, Simulation
from ..run.build_result import build_result
from ..run.collection import without_collection
from ..run.drive import Observation, drive
from ..run.summarise import summarise
from ..storage.settings import check_finite
from ..tables.requests import requests_frame
from ..tables.steps import steps_frame
from .simulated_machine import (
    Extrapolating,
    Machine,
    as_calibrated,
    check_swap,
    machine_settings,
    price_and_room,
)
from .simulated_weights import settle_weights
from .simulation_error import calibrated_error, roofline_error

if TYPE_CHECKING:
    from ..run.experiment import Measured
    from ..run.watch import Watch

# Prompts have no words here; what matters is that no two begin alike unless they are asked to.
CORPUS_TOKENS = 1 << 17


@dataclass(frozen=True)
class PreparedSimulation:
    """A simulated run that has been checked. weights: how the model's are stored."""

    config: RunConfig
    machine: Machine
    model: ModelConfig
    engine: ResolvedEngine
    weights: WeightChoice
    cost: CostModel
    plan: Plan

    @property
    def kv_bytes_per_token(self) -> int:
        """Over all devices."""
        return self.model.kv_bytes_per_token(self.model.dtype, self.engine.kv_dtype)

    @property
    def pool_tokens(self) -> int:
        """Over all devices."""
        return self.engine.pool_tokens(self.kv_bytes_per_token)


def prepare_simulation(
    config: RunConfig, machine: Machine, plan: Plan | None = None
) -> PreparedSimulation:
    """Check everything, plan every request. plan: send this one instead of the workload.

    Raises ConfigError, ModelError or WorkloadError.
    """
    calibration = machine.calibration
    file = config_file(config.model)
    model = read_shape(file)
    engine = as_calibrated(config.engine, calibration) if calibration else config.engine
    settled, weights = settle_weights(engine, config.model, file)
    config = replace(config, engine=settled)
    if config.engine.dtype != "auto":
        model = replace(model, dtype=config.engine.dtype)
    elif calibration is not None:
        model = replace(model, dtype=str(calibration.settings["dtype"]))
    limits = config.engine.limits_for(model.max_position_embeddings)
    cost, pool_tokens = price_and_room(config, machine, model, weights, limits)
    bytes_per_token = model.kv_bytes_per_token(model.dtype, config.engine.kv_dtype)
    engine = ResolvedEngine.of(
        config.engine,
        limits=limits,
        kv_memory_bytes=pool_tokens * bytes_per_token,
        # Whose work was counted, or whose steps were measured.
        model_impl=str(calibration.settings.get("model_impl", "native"))
        if calibration
        else "native",
        # A step follows the other on the virtual clock, at the price of the cost model.
        async_scheduling=False,
        cuda_graphs="off",
        dtype=model.dtype,
    )
    build_strategy(engine, bytes_per_token)
    plan = plan or _plan(config, model, limits)
    may_swap = engine.swap_memory_bytes is not None
    if may_swap and (engine.preemption == "swap" or any(r.samples > 1 for r in plan.requests)):
        check_swap(cost, engine)
    # All of the run's settings but the plan's, which is checked as it is made.
    check_finite({**asdict(engine), "slo": config.slo_s, "machine": machine_settings(machine)})
    return PreparedSimulation(config, machine, model, engine, weights, cost, plan)


def simulate(prepared: PreparedSimulation, watch: Watch) -> Measured:
    """Serve the plan in virtual time, and say what was seen. Ctrl-C as in a real run."""
    watch.stage(f"simulating {plural(len(prepared.plan.requests), 'request')}")
    prepared = fresh(prepared)
    seen = observe(prepared, watch)
    watch.stage("summarising")
    return measured(prepared, seen)


def measured(prepared: PreparedSimulation, seen: Observation) -> Measured:
    """What was observed as a run: its result, and the tables beside it."""
    from ..run.experiment import Measured

    with without_collection():
        splits = split_steps(seen.records, seen.steps)
        result = _result(prepared, seen, splits)
        steps = steps_frame(seen.records, seen.steps, splits)
        return Measured(result, requests_frame(seen.records, prepared.plan), steps)


def fresh(prepared: PreparedSimulation) -> PreparedSimulation:
    """The same simulation with nothing counted yet, to be run beside another."""
    cost = prepared.cost
    if isinstance(cost, Extrapolating):
        return replace(prepared, cost=Extrapolating(cost.cost))
    return prepared


def observe(prepared: PreparedSimulation, watch: Watch) -> Observation:
    """Serve the plan in virtual time."""
    clock = VirtualClock()
    strategy = build_strategy(prepared.engine, prepared.kv_bytes_per_token)
    executor = SimulatedExecutor(prepared.cost, clock, prepared.model.sliding_window)
    core = EngineCore(strategy, executor, clock)
    return drive(core, clock, prepared.plan, on_progress=watch.progress)


def _plan(config: RunConfig, model: ModelConfig, limits: Limits) -> Plan:
    from ...workloads.api import plan_workload
    from ..run.planning import scaled_as_asked, workload_of

    load: LoadConfig = config.load
    spec = workload_of(load)
    corpus = _corpus(model.vocab_size)
    plan = plan_workload(
        spec,
        seed=config.seed,
        corpus_token_ids=corpus,
        limits=LengthLimits(load.max_input_len, load.max_output_len, limits.max_model_len),
        vocab_size=model.vocab_size,
    )
    return scaled_as_asked(plan, spec, load)


def _corpus(vocab_size: int) -> list[int]:
    import numpy as np

    return np.random.default_rng(0).integers(vocab_size, size=CORPUS_TOKENS).tolist()


def _result(prepared: PreparedSimulation, seen: Observation, splits: Sequence[KVSplit]) -> Result:
    from ..machine.environment import package_version
    from ..run.planning import asked_of

    engine, plan, config = prepared.engine, prepared.plan, prepared.config
    bytes_per_token = prepared.kv_bytes_per_token
    strategy = build_strategy(engine, bytes_per_token)
    capacity = strategy.kv.capacity_tokens
    summary = summarise(
        seen.records,
        seen.steps,
        pool=KVPool(strategy.kv.kind, capacity, capacity * bytes_per_token, bytes_per_token),
        max_num_batched_tokens=engine.max_num_batched_tokens,
        asked=asked_of(plan),
        slo=config.slo_s,
        interrupted=seen.interrupted,
        splits=splits,
    )
    summary = add_resources(summary, seen.records, seen.steps, _resources(prepared))
    settings = settings_of(prepared)
    fingerprint = plan.fingerprint()
    return build_result(
        summary,
        plan,
        fingerprint=fingerprint,
        run_id=_run_id(settings, fingerprint),
        created_at=None,
        partial=seen.interrupted,
        label=config.label,
        config=settings,
        environment={"packages": {"llmbench": package_version("llmbench")}},
        memory=Memory(
            weight_bytes=_weight_bytes(prepared),
            kv_bytes=capacity * bytes_per_token,
            peak_rss_bytes=None,
        ),
        simulation=simulation_of(prepared),
    )


def simulation_of(prepared: PreparedSimulation) -> Simulation:
    """What the run stands on; after it was observed, with what it extrapolated."""
    machine, cost = prepared.machine, prepared.cost
    if isinstance(cost, Extrapolating):
        calibration = cost.cost.calibration
        return Simulation(
            hardware=calibration.machine,
            devices=1,
            cost_model="calibrated",
            step_error={name: asdict(error) for name, error in calibration.errors.items()},
            run_error=dict(calibration.run_error),
            extrapolated_steps=cost.steps,
            error=calibrated_error(calibration, cost.steps),
        )
    return Simulation(
        hardware=machine.hardware,
        devices=machine.devices,
        cost_model="roofline",
        efficiency=asdict(machine.efficiency),
        error=roofline_error(),
    )


def _resources(prepared: PreparedSimulation) -> Resources:
    """Of a machine that the table of hardware describes; of a calibrated one only step times are
    known."""
    machine, engine = prepared.machine, prepared.engine
    energy, price_per_hour = "a simulated machine draws no power", prepared.config.price_per_hour
    if machine.calibration is not None:
        return not_seen("a calibration knows step times, not peaks", energy, price_per_hour)
    counted = count_model(prepared.model, engine, prepared.weights, machine.devices)
    hardware, own = resolve_hardware(machine.hardware), SHORT_DTYPE[prepared.model.dtype]
    layers = prepared.weights.layer_format(own)
    peaks = peaks_of_hardware(hardware, layers.computes_in(hardware, own))
    return Resources(counted, peaks, energy, price_per_hour)


def _weight_bytes(prepared: PreparedSimulation) -> int:
    """What a decode step reads of the weights, over all devices."""
    devices = prepared.machine.devices
    work = model_work(prepared.model, prepared.weights, tensor_parallel=devices)
    return int(devices * (work.linear_bytes + work.head_bytes))


def settings_of(prepared: PreparedSimulation) -> dict[str, Any]:
    """The run's settings, as `Result.config` holds them."""
    from ..run.planning import load_settings, price_setting

    config, machine, model = prepared.config, prepared.machine, prepared.model
    engine = asdict(prepared.engine)
    if prepared.engine.kv == "contiguous":
        engine["block_size"] = None
    device = machine.calibration.machine if machine.calibration else machine.hardware
    return {
        "model": config.model,
        "model_family": model.family,
        "model_parameters": model.parameter_count,
        **engine,
        "device": f"simulated {device}" + (f" x {machine.devices}" * (machine.devices > 1)),
        "tensor_parallel": machine.devices,
        "simulated": True,
        "machine": machine_settings(machine),
        "seed": config.seed,
        **load_settings(config.load, prepared.plan),
        "slo": dict(config.slo_s),
        **price_setting(config.price_per_hour),
        "command": config.command,
    }


def _run_id(settings: dict[str, Any], fingerprint: str) -> str:
    text = json.dumps([settings, fingerprint], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
