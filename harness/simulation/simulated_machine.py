"""What a run is simulated on: whose step times, and how much memory for keys and values."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from ...engines.config import CPU_KV_MEMORY_BYTES, EngineConfig
from ...engines.cost.calibrated import CalibratedCost, Calibration
from ...engines.cost.hardware import Hardware, resolve_hardware
from ...engines.cost.roofline import CostModel, Efficiency, Roofline, kv_capacity_tokens
from ...engines.cost.weights import WeightChoice
from ...engines.cost.work import StepWork
from ...engines.errors import ConfigError, MissingError
from ...engines.models.config import ModelConfig
from ...engines.room import KV_MEMORY_SHARE, taken_beside_weights
from ...engines.step import Limits
from ...engines.trace import PhaseTimes
from ..config import RunConfig
from ..storage.settings import setting_of


@dataclass(frozen=True)
class Machine:
    """What the run is simulated on.

    hardware: a name of `engines/cost/hardware.yaml` or a YAML file. devices: tensor parallel.
    calibration: what `llmbench calibrate` made, in place of hardware. free_memory_fraction: share
    of the memory that weights, graphs and the largest step leave free which is given to the KV
    cache. efficiency: of the roofline.
    """

    hardware: str = "h100"
    devices: int = 1
    calibration: Calibration | None = None
    free_memory_fraction: float = KV_MEMORY_SHARE
    efficiency: Efficiency = field(default_factory=Efficiency)


class Extrapolating:
    """A calibrated cost model that counts the steps it was never shown the like of."""

    def __init__(self, cost: CalibratedCost) -> None:
        self.cost = cost
        self.steps = 0

    def price(self, work: StepWork) -> PhaseTimes:
        self.steps += bool(self.cost.calibration.beyond(work))
        return self.cost.price(work)


def price_and_room(
    config: RunConfig,
    machine: Machine,
    model: ModelConfig,
    weights: WeightChoice,
    limits: Limits,
) -> tuple[CostModel, int]:
    """Who says how long a step takes, and how many tokens the KV pool holds.

    model: in the dtype that it is computed in. weights: how its maps are stored. limits: of the
    engine, on that model.
    Raises ConfigError for what the machine cannot do and for a calibration of something else.
    """
    engine, calibration = config.engine, machine.calibration
    if calibration is not None:
        _check_calibration(calibration, config)
        memory_bytes = engine.kv_memory_bytes or _default_kv_memory(calibration)
        return Extrapolating(CalibratedCost(calibration)), _tokens_in(memory_bytes, engine, model)
    hardware = resolve_hardware(machine.hardware)
    cost = _roofline(engine, machine, hardware, model, weights)
    return cost, _pool_tokens(engine, machine, hardware, model, weights, limits)


def _roofline(
    engine: EngineConfig,
    machine: Machine,
    hardware: Hardware,
    model: ModelConfig,
    weights: WeightChoice,
) -> Roofline:
    return Roofline(
        hardware,
        model,
        weights,
        tensor_parallel=machine.devices,
        kv_dtype=engine.kv_dtype,
        efficiency=machine.efficiency,
    )


def _pool_tokens(
    engine: EngineConfig,
    machine: Machine,
    hardware: Hardware,
    model: ModelConfig,
    weights: WeightChoice,
    limits: Limits,
) -> int:
    fits = kv_capacity_tokens(
        hardware,
        model,
        weights,
        tensor_parallel=machine.devices,
        kv_dtype=engine.kv_dtype,
        beside_weights=taken_beside_weights(
            model,
            weights,
            limits,
            graphs=hardware.graphs and engine.cuda_graphs != "off",
            devices=machine.devices,
        ),
        free_memory_fraction=machine.free_memory_fraction,
    )
    if engine.kv_memory_bytes is None:
        return fits
    asked = _tokens_in(engine.kv_memory_bytes, engine, model)
    if asked > fits:
        what = f"{machine.devices} x {hardware.name}"
        raise ConfigError(
            "kv_memory", f"{asked} tokens", f"at most the {fits} that {what} have room for"
        )
    return asked


def _tokens_in(memory_bytes: int, engine: EngineConfig, model: ModelConfig) -> int:
    """How many tokens' keys and values that much holds. Raises ConfigError for less than one's."""
    each = model.kv_bytes_per_token(model.dtype, engine.kv_dtype)
    if memory_bytes < each:
        allowed = f"at least the {each} bytes that a token takes"
        raise ConfigError("kv_memory", f"{memory_bytes} bytes", allowed)
    return memory_bytes // each


def _default_kv_memory(calibration: Calibration) -> int:
    """As a run on a CPU has it. Raises MissingError for another device, of whose memory a
    calibration knows nothing."""
    device = str(calibration.settings.get("device") or "cpu")
    if device != "cpu":
        what = f"a size such as 16GiB: a calibration of {device} knows step times, not its memory"
        raise MissingError("kv_memory", what)
    return CPU_KV_MEMORY_BYTES


def _check_calibration(calibration: Calibration, config: RunConfig) -> None:
    """Step times of another model, of other weights or kernels, say nothing about this run."""
    if calibration.model != config.model:
        raise ConfigError("model", config.model, f"{calibration.model}, which was calibrated")
    measured_with = {"force_kernels": ()} | calibration.settings
    for name in (
        *("quant", "quant_activations", "quant_head", "group_size", "quant_bits"),
        *("kv", "kv_dtype", "dtype", "force_kernels"),
    ):
        asked, measured = getattr(config.engine, name), setting_of(measured_with, name)
        # JSON has no tuples.
        measured = tuple(measured) if isinstance(measured, list) else measured
        # A dtype of `auto` means the calibrated one; a KV dtype of `auto` is one of its own.
        if asked != measured and (name, asked) != ("dtype", "auto"):
            raise ConfigError(name, asked, f"{measured}, which was calibrated")


def as_calibrated(engine: EngineConfig, calibration: Calibration) -> EngineConfig:
    """With the group size and the kernels that were measured, where no others are asked for."""
    settings = calibration.settings
    kernels = tuple(settings.get("force_kernels") or ())
    group_size = settings.get("group_size") if engine.group_size is None else engine.group_size
    return replace(engine, group_size=group_size, force_kernels=engine.force_kernels or kernels)


def check_swap(cost: CostModel, engine: EngineConfig) -> None:
    """A run that may swap needs a price for it."""
    if isinstance(cost, Roofline):
        cost.hardware.required_link("host_link")
    else:
        raise ConfigError("preemption", engine.preemption, "recompute: no swap was calibrated")


def machine_settings(machine: Machine) -> dict[str, Any]:
    """All that decides step times, and of a calibration only itself; numbers: a digest of those
    behind a name or in a file."""
    made = machine.calibration
    numbers = (
        json.dumps(asdict(made), sort_keys=True)
        if made
        else resolve_hardware(machine.hardware).model_dump_json()
    )
    return {
        "hardware": None if made else machine.hardware,
        "calibration": made.machine if made else None,
        "free_memory_fraction": None if made else machine.free_memory_fraction,
        "efficiency": None if made else asdict(machine.efficiency),
        "numbers": hashlib.sha256(numbers.encode()).hexdigest(),
    }
