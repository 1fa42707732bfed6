"""A stored run served again by its simulated twin: how far the twin is from what was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from ...engines.config import EngineConfig
from ...engines.cost.calibrated import Calibration
from ...engines.errors import ConfigError
from ...engines.presets import find_preset
from ...workloads.api import Plan, PlannedRequest
from ..comparison.quantities import find_quantity
from ..config import RunConfig
from ..run.watch import Watch
from ..storage.store import StoredRun
from .calibrate import check_like, check_measured
from .simulate import prepare_simulation, simulate
from .simulated_machine import Machine
from .twin_prompts import shape_of

# What is compared: the means that the issue of a simulation is about.
CHECKED = ("ttft.mean", "tpot.mean", "e2el.mean", "output_throughput.run")


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

    Raises ConfigError for a run that is part of the calibration, that was simulated or is not
    valid, or of another model, machine or kind.
    """
    check_measured("check", run)
    if run.result.run_id in calibration.settings.get("run_ids", ()):
        allowed = "a run that the calibration was not fitted to"
        raise ConfigError("check", str(run.directory), allowed)
    check_like(calibration, "check", run)
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
    """What a stored run was sent: lengths, due times, who waits for whom and what prompts have in
    common, as far as it is stored or can be drawn again (see `twin_prompts`); the words are made
    up."""
    result = run.result
    closed = result.workload.description["arrivals"]["kind"] == "closed_loop"
    rows = run.requests[run.requests["sample"] == 0].to_dict("records")
    samples = int(result.config.get("samples") or 1)
    shape = shape_of(run)
    sent: dict[int, Sequence[int]] = {}
    planned: list[PlannedRequest] = []
    for row in sorted(rows, key=lambda row: int(row["index"])):
        index = int(row["index"])
        slot = shape.slots[index]
        sent[index] = shape.prompt(index, int(row["input_tokens"]), sent)
        due_s = None if closed or slot.after is not None else float(row["t_due_s"])
        output = int(row["output_tokens"])
        planned.append(
            PlannedRequest(index, due_s, sent[index], output, samples, slot.after, slot.think_s)
        )
    return Plan(
        tuple(planned),
        result.config.get("max_concurrency"),
        description=dict(result.workload.description),
    )
