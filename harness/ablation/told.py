"""From what was analysed to the report's own model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from ...engines.quantization.methods import quant_of
from ...reports.ablation_model import AblationAxis, AblationCell, AblationChange, AblationResponse
from ...reports.glossary import change_text, setting_text
from ..comparison.whole_steps import whole_step_notes
from ..result import Result
from ..storage.settings import settings_of
from .beside import beside_axes
from .contrasts import Change
from .design import Axis, Cell, Design, level_text
from .factorial import Factorial, Measured, Repeats
from .mechanism import Accounted
from .noise import Noise
from .responses import Response

_ONE_RUN = (
    "one run of each cell: the intervals cover which requests were sent, not how a machine differs "
    "from run to run; --repeats measures that"
)
_ONE_SIMULATED_RUN = (
    "one run of each cell: the intervals cover which requests were sent; a simulated machine does "
    "not differ from run to run"
)


def told_cell(
    cell: Cell,
    factorial: Factorial,
    invalid: Mapping[Cell, str],
    repeats: Repeats,
    measured: Sequence[Measured],
) -> AblationCell:
    levels = tuple(level_text(level) for _, level in cell.levels)
    runs = tuple(run.directory.name for run in factorial.runs.get(cell, ()))
    reasons = {one.cell: one.reason for one in factorial.not_run}
    if cell in reasons:
        return AblationCell(cell.name, levels, "not run", reason=reasons[cell])
    if cell in invalid:
        return AblationCell(cell.name, levels, "invalid", reason=invalid[cell], runs=runs)
    mine = [cells[cell] for cells in repeats]
    values = {
        one.response.name: float(np.mean([cells[cell].value() for cells in one.repeats]))
        for one in measured
    }
    return AblationCell(cell.name, levels, "measured", values, _mean_mechanism(mine), runs=runs)


def _mean_mechanism(mine: Sequence[Accounted]) -> dict[str, float | None]:
    rows = [asdict(one.mechanism) for one in mine]
    return {
        name: None
        if any(row[name] is None for row in rows)
        else float(np.mean([row[name] for row in rows]))
        for name in rows[0]
    }


def notes_of(
    factorial: Factorial,
    invalid: Mapping[Cell, str],
    count: int,
    responses: Sequence[Response],
    short: Mapping[str, str],
    noise: Noise | None,
    repeats: Repeats,
) -> tuple[str, ...]:
    """What the numbers cannot carry, the worst first."""
    design = factorial.design
    kept = [one for cells in repeats for one in cells.values()]
    # Each repeat has its own seed, and else the same settings.
    first = [repeats[0][cell].result for cell in design.cells if cell in repeats[0]]
    found = list(beside_axes(design, first))
    found += [
        f"{design.told(cell)}: not valid, in no effect: {why}" for cell, why in invalid.items()
    ]
    found += [f"{design.told(one.cell)}: not run: {one.reason}" for one in factorial.not_run]
    if count == 1:
        found.append(_ONE_RUN if kept[0].result.simulation is None else _ONE_SIMULATED_RUN)
    if noise is not None:
        found.append(noise.text)
    found += [
        f"{why}: effects with a ? decide nothing" for why in dict.fromkeys(short.values()) if why
    ]
    if any(one.name == "output_throughput.run" for one in responses):
        found.append(
            "not every run had a steady window, so throughput is over whole runs, drain included"
        )
    found += whole_step_notes([one.directory.name for one in kept], [one.result for one in kept])
    unsteady: dict[str, Any] = {}
    for run in kept:
        validity = run.result.validity
        for check in validity.failures:
            # A disturbance is told above, as why nothing is decided.
            told = check in validity.disturbances or check.id in ("steady", "tail")
            if not check.fatal and not told:
                unsteady.setdefault(check.id, f"{run.directory.name}: {check.detail}")
    return (*found, *unsteady.values())


def setting_of(design: Design, result: Result) -> tuple[str, ...]:
    """What was the same in every cell."""
    config = result.config
    varied = {axis.name for axis in design.axes}
    # Weights are one choice, as they are typed.
    settings = {**config, "quant": quant_of(settings_of(config))} if "quant" in config else config
    if varied & {"quant_activations", "quant_head"}:
        varied.add("quant")
    held = [
        f"{name} {settings[name]}"
        for name in ("batching", "admission", "kv", "quant")
        if name not in varied and name in settings
    ]
    # A word of three meanings: whose mixing it is belongs beside it.
    batching = {config.get("batching"), *(level for axis in design.axes for level in axis.levels)}
    if "mixed" in batching and "mixing" not in varied and "mixing" in config:
        held.append(f"mixed batching as {config['mixing']}")
    return (
        f"{config['model']} in {config.get('dtype')} on {config.get('device')}",
        f"{result.workload.num_requests} requests of {result.workload.name} in every cell",
        *([", ".join(held)] if held else []),
    )


def told_axis(axis: Axis) -> AblationAxis:
    return AblationAxis(axis.name, tuple(level_text(level) for level in axis.levels))


def told_change(change: Change) -> AblationChange:
    return AblationChange(
        change.axis,
        level_text(change.base),
        level_text(change.level),
        change_text(change.axis, change.base, change.level),
        setting_text(change.axis, change.level),
    )


def told_response(response: Response, short: str, few: str = "") -> AblationResponse:
    metric, stat = response.name.split(".")
    unit, better, scale = response.unit, response.better, response.scale
    return AblationResponse(metric, stat, unit, better, scale, short, few)
