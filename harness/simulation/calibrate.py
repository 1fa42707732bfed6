"""From stored runs to a calibration: the steps' work and times, read from their tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ...engines.cost.calibrated import Calibration
from ...engines.cost.features import PART_FEATURES
from ...engines.cost.fit import MeasuredStep, fit_calibration
from ...engines.cost.shapes import resolve_shape
from ...engines.cost.work import StepWork
from ...engines.errors import ConfigError
from ...engines.trace import Chunks
from ..comparison.admissible import objections
from ..run.step_work import works_of
from ..storage.settings import setting_of
from ..storage.store import StoredRun

if TYPE_CHECKING:
    import pandas as pd

# What two runs must share for their steps to be of one kind. Batching, admission and the limits may
# differ: they choose the steps, and the work of a step says what it costs.
SAME = (
    *("model", "model_impl", "dtype", "device"),
    *("quant", "quant_activations", "quant_head", "group_size", "quant_bits"),
    *("kv", "kv_dtype", "force_kernels"),
)
_SETTINGS = (*SAME, "block_size")


def calibrate_runs(runs: Sequence[StoredRun]) -> Calibration:
    """A calibration of the steps of all runs.

    Raises ConfigError: no run, one that was simulated or is not valid, runs of different models or
    machines, too few steps.
    """
    if not runs:
        raise ConfigError("run", "", "the directory of at least one run")
    first = runs[0]
    for run in runs:
        check_measured("run", run)
        kind = _kind(first.result.config, _machine(first))
        _check_same(kind, str(first.directory), "run", run)
    config = first.result.config
    window = resolve_shape(str(config["model"])).sliding_window
    settings = {name: config[name] for name in _SETTINGS if name in config}
    return fit_calibration(
        [step for run in runs for step in measured_steps(run, window)],
        model=str(config["model"]),
        machine=_machine(first),
        settings={
            **settings,
            "runs": [run.directory.name for run in runs],  # for whoever reads the file
            "run_ids": [run.result.run_id for run in runs],
        },
        window=window,
    )


def check_measured(field: str, run: StoredRun) -> None:
    """Raises ConfigError for a run whose step times tell nothing of a machine: that was simulated,
    is a server's or a library's, or is not valid."""
    if run.steps.empty and run.result.counters.requests_ok:
        allowed = "a run of an engine of ours: the steps of a server or a library are not seen"
        raise ConfigError(field, str(run.directory), allowed)
    if run.result.simulation is not None:
        raise ConfigError(field, str(run.directory), "a run that was measured; this was simulated")
    for reason in objections(run):
        raise ConfigError(field, str(run.directory), f"a valid run; of this one: {reason}")


def measured_steps(run: StoredRun, window: int | None = None) -> list[MeasuredStep]:
    """The steps of one run that computed anything and swapped nothing, in order.

    window: the model's sliding window. Communication counts as part of the linear maps it follows.
    """
    table = run.steps
    parts_s = {part: table[part].tolist() for part in PART_FEATURES}
    if "communicate_s" in table:
        parts_s["linear_s"] = (table["linear_s"] + table["communicate_s"]).tolist()
    durations_s = (table["end_s"] - table["start_s"]).tolist()
    swaps_s = table["swap_s"].tolist() if "swap_s" in table else [0.0] * len(table)
    return [
        MeasuredStep(work, durations_s[index], {part: parts_s[part][index] for part in parts_s})
        for index, work in enumerate(step_works(table, window))
        if work.tokens and not swaps_s[index]
    ]


def step_works(steps: pd.DataFrame, window: int | None = None) -> list[StepWork]:
    """The work of each step of a stored table, in order."""
    names = ("chunk_request_ids", "chunk_phases", "chunk_starts", "chunk_lengths")
    columns = [[list(cell) for cell in steps[name]] for name in names]
    return works_of(
        [
            Chunks(ids, [int(one) for one in starts], [int(one) for one in lengths], prefills)
            for ids, phases, starts, lengths in zip(*columns, strict=True)
            for prefills in [phases.count("prefill")]
        ],
        window,
    )


def _machine(run: StoredRun) -> str:
    """What step times depend on besides the settings, in words."""
    environment, device = run.result.environment, str(run.result.config.get("device", "cpu"))
    cpu, threads = environment.get("cpu") or {}, (environment.get("torch") or {}).get("threads")
    words = f"{cpu.get('model', 'unknown CPU')}, {cpu.get('usable_cores')} cores"
    return f"{words}, {threads} threads" + ("" if device == "cpu" else f", {device}")


def check_like(calibration: Calibration, field: str, run: StoredRun) -> None:
    """Raises ConfigError for a run whose steps are of another kind than those calibrated."""
    kind = _kind(calibration.settings, calibration.machine)
    _check_same(kind, "those that were calibrated", field, run)


def _kind(config: Mapping[str, Any], machine: str) -> dict[str, Any]:
    """What the steps of two runs must share. JSON has no tuples."""
    kind = {name: setting_of(config, name) for name in SAME}
    return {**kind, "force_kernels": list(kind["force_kernels"] or ()), "machine": machine}


def _check_same(kind: Mapping[str, Any], whose: str, field: str, run: StoredRun) -> None:
    theirs = _kind(run.result.config, _machine(run))
    for name, value in kind.items():
        if theirs[name] != value:
            allowed = f"a run like {whose}, whose {name} is {value!r}, not {theirs[name]!r}"
            raise ConfigError(field, str(run.directory), allowed)
