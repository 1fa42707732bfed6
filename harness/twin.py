"""A stored run served again by its simulated twin: how far the twin is from what was measured."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, fields
from itertools import chain
from typing import Any

from ..engines.config import EngineConfig
from ..engines.cost.calibrated import Calibration
from ..engines.errors import ConfigError
from ..engines.presets import find_preset
from ..workloads.api import Plan, PlannedRequest
from .config import RunConfig
from .experiment import Watch
from .quantities import find_quantity
from .result import Result
from .simulate import prepare_simulation, simulate
from .simulated_machine import Machine
from .store import StoredRun

# What is compared: the means that the issue of a simulation is about.
CHECKED = ("ttft.mean", "tpot.mean", "e2el.mean", "output_throughput.run")
# Prompts of two requests share no token: a stored run does not keep what was said.
PROMPT_STRIDE = 1 << 24


@dataclass(frozen=True)
class Held:
    """One quantity of a run, measured and predicted."""

    quantity: str
    measured: float
    predicted: float

    @property
    def error(self) -> float:
        """predicted / measured - 1."""
        return self.predicted / self.measured - 1


def hold_against(calibration: Calibration, run: StoredRun, watch: Watch) -> tuple[Held, ...]:
    """Simulate what a stored run was sent, with its engine's settings, and compare means.

    Raises ConfigError for a run that is part of the calibration, or of another model or kind.
    """
    name = run.directory.name
    if name in calibration.settings.get("runs", ()):
        raise ConfigError("check", name, "a run that the calibration was not fitted to")
    config = run.result.config
    settings = RunConfig(str(config["model"]), engine_of(config))
    machine = Machine(calibration=calibration)
    twin = simulate(prepare_simulation(settings, machine, plan_of(run)), watch).result
    return tuple(
        Held(name, measured, predicted)
        for name in CHECKED
        if (measured := find_quantity("check", name).value(run.result))
        and (predicted := find_quantity("check", name).value(twin))
    )


def engine_of(config: Mapping[str, Any]) -> EngineConfig:
    """The engine settings that a result's configuration holds."""
    names = {field.name for field in fields(EngineConfig)}
    found = {name: value for name, value in config.items() if name in names}
    if found["block_size"] is None:  # of a contiguous cache, which has none
        found["block_size"] = find_preset(str(config["engine"])).block_size
    return EngineConfig(**found)


def plan_of(run: StoredRun) -> Plan:
    """What a stored run was sent: lengths and due times; the words are made up."""
    result = run.result
    closed = result.workload.description["arrivals"]["kind"] == "closed_loop"
    rows = run.requests[run.requests["sample"] == 0].to_dict("records")
    samples = int(result.config.get("samples") or 1)
    shared = _shared_prefix(result)
    return Plan(
        tuple(_planned(row, closed, samples, shared) for row in rows),
        result.config.get("max_concurrency"),
        description=dict(result.workload.description),
    )


def _planned(
    row: Mapping[Hashable, Any], closed: bool, samples: int, shared: int
) -> PlannedRequest:
    index, tokens = int(row["index"]), int(row["input_tokens"])
    common = min(shared, tokens - 1)
    own = index * PROMPT_STRIDE
    prompt = tuple(chain(range(-common, 0), range(own, own + tokens - common)))
    due_s = None if closed else float(row["t_due_s"])
    return PlannedRequest(index, due_s, prompt, int(row["output_tokens"]), samples)


def _shared_prefix(result: Result) -> int:
    prompts = result.workload.description.get("prompts") or {}
    return int(prompts.get("shared_prefix_tokens", 0))
