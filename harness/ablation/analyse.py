"""From stored cells to what a report says of them: effects, their family, their sentences."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from ...engines.errors import ConfigError
from ...engines.quantization.methods import quant_of
from ...reports.ablation_model import (
    Ablation,
    AblationAxis,
    AblationCell,
    AblationChange,
    AblationEffect,
    AblationResponse,
    Conditional,
)
from ..comparison.admissible import objections
from ..comparison.evidence import ERROR_RATE
from ..comparison.observed import Observed
from ..errors import InvalidRun
from ..result import Result, Simulation
from ..stats.holm import holm
from ..storage.settings import settings_of
from ..storage.store import RunOnDisk, StoredRun
from .contrasts import Change, Contrast, conditional, contrasts
from .design import Axis, Cell, Design, Level, NotRun, level_text
from .effects import Spread, estimate
from .mechanism import Accounted, Explanation, explain
from .noise import Noise, machine_noise
from .responses import Measure, Response, responses_for, too_little
from .reversal import Reversal, reversal
from .sentences import interaction_sentence, main_sentence

Repeats = Sequence[Mapping[Cell, Accounted]]
# An effect below one percent, or a share's below one point, is in the tables and in no sentence;
# an interaction is a difference of two.
LEAST_TOLD = 0.01
_ONE_RUN = (
    "one run of each cell: the intervals cover which requests were sent, not how a machine differs "
    "from run to run; --repeats measures that"
)
_ONE_SIMULATED_RUN = (
    "one run of each cell: the intervals cover which requests were sent; a simulated machine does "
    "not differ from run to run"
)


@dataclass(frozen=True)
class Factorial:
    """Every run of a design. runs: of each cell, one a repeat; not_run: the cells without.

    The tables of runs on disk are read one run at a time.
    """

    design: Design
    runs: Mapping[Cell, Sequence[StoredRun | RunOnDisk]]
    not_run: Sequence[NotRun] = ()


@dataclass(frozen=True)
class _Measured:
    """A response in every cell of every repeat."""

    response: Response
    repeats: Sequence[Mapping[Cell, Measure]]


@dataclass(frozen=True)
class _Found:
    """One effect on one response, before the family is known. given: of a main effect, axis, level
    and the effect there."""

    response: Response
    contrast: Contrast
    spread: Spread
    explanation: Explanation | None
    sides: tuple[Spread, Spread] | None = None
    given: Sequence[tuple[str, Level, Spread]] = ()


def analyse(factorial: Factorial, *, command: str = "") -> Ablation:
    """Effects with intervals, corrected for how many they are, and a sentence for each that holds.

    A cell with a run that is not valid enters no effect. Where no two cells are left that differ in
    one axis, raises InvalidRun if one was left out for that, else ConfigError.
    """
    design = factorial.design
    invalid = {
        cell: reasons[0]
        for cell, runs in factorial.runs.items()
        if (reasons := [reason for run in runs for reason in objections(run)])
    }
    valid = [cell for cell in factorial.runs if cell not in invalid]
    wanted = contrasts(design, valid)
    if not wanted:
        if invalid:
            cell, why = next(iter(invalid.items()))
            raise InvalidRun(
                f"{len(valid)} of {len(factorial.runs)} cells are valid, and an effect takes two "
                f"that differ in one axis; {cell.name}: {why}"
            )
        raise ConfigError(
            "axes", f"{len(valid)} valid cells", "at least two that differ in one axis"
        )
    count = len(factorial.runs[valid[0]])
    repeats = [
        {cell: _accounted(factorial.runs[cell][at]) for cell in valid} for at in range(count)
    ]
    kept = [one for cells in repeats for one in cells.values()]
    results = [one.result for one in kept]
    _check_same_requests(repeats)
    measured = [_measured(response, repeats) for response in responses_for(results)]
    responses = [one.response for one in measured]
    found = [effect for one in measured for effect in _effects(design, wanted, valid, one, repeats)]
    named = [[(runs[cell].directory.name, runs[cell].result) for runs in repeats] for cell in valid]
    short = {one.name: too_little(one, named) for one in responses}
    noise = machine_noise(repeats)
    effects = _judged(found, short, noise, repeats)
    return Ablation(
        title=" × ".join(axis.name for axis in design.axes),
        setting=_setting(design, results[0]),
        repeats=count,
        simulated=any(result.simulation is not None for result in results),
        simulation_error=_simulation_error(results),
        axes=tuple(_axis(axis) for axis in design.axes),
        responses=tuple(_response(one, short[one.name]) for one in responses),
        cells=tuple(_cell(cell, factorial, invalid, repeats, measured) for cell in design.cells),
        effects=effects,
        sentences=tuple(one.sentence for one in _largest_first(effects, responses)),
        notes=_notes(factorial, invalid, count, responses, short, noise, kept),
        command=command,
    )


def _accounted(run: StoredRun | RunOnDisk) -> Accounted:
    if isinstance(run, RunOnDisk):
        run = run.load(without=("chunk_phases",))
    return Accounted.of(Observed(run))


def _simulation_error(results: Sequence[Result]) -> str:
    """Of the cell that was simulated farthest from what is known; empty if none was."""

    def beyond(simulation: Simulation) -> int:
        return simulation.extrapolated_steps

    found = [one.simulation for one in results if one.simulation is not None]
    return max(found, key=beyond).error if found else ""


def _effects(
    design: Design,
    wanted: Sequence[Contrast],
    valid: Sequence[Cell],
    measured: _Measured,
    repeats: Repeats,
) -> list[_Found]:
    response = measured.response
    given = {at: _given(design, one, valid) for at, one in enumerate(wanted)}
    every = [*wanted, *(one for beside in given.values() for _, _, one in beside)]
    spreads = estimate(design, every, measured.repeats, response.scale)
    beside = iter(spreads[len(wanted) :])
    found = []
    for at, (contrast, spread) in enumerate(zip(wanted, spreads, strict=False)):
        because = explain(response.name, contrast, repeats)
        known = [(axis, level, next(beside)) for axis, level, _ in given[at]]
        if contrast.is_main:
            found.append(_Found(response, contrast, spread, because, given=known))
        else:
            both = (known[0][2], known[1][2]) if known else None
            found.append(_Found(response, contrast, spread, because, both))
    return found


def _given(
    design: Design, contrast: Contrast, valid: Sequence[Cell]
) -> list[tuple[str, Level, Contrast]]:
    """The first change while another axis stays where it is. For an interaction: at the second
    axis' base, and at its level. For a main effect: at every level of every other axis."""
    change = contrast.changes[0]
    if contrast.is_main:
        places = [
            (axis.name, level)
            for axis in design.axes
            if axis.name != change.axis
            for level in axis.levels
        ]
    else:
        second = contrast.changes[1]
        places = [(second.axis, second.base), (second.axis, second.level)]
    found = [(*place, conditional(design, change, place, valid)) for place in places]
    known = [(axis, level, one) for axis, level, one in found if one is not None]
    return known if contrast.is_main or len(known) == len(places) else []


def _judged(
    found: Sequence[_Found], short: Mapping[str, str], noise: Noise | None, repeats: Repeats
) -> tuple[AblationEffect, ...]:
    """Holm's correction runs over every effect that has a spread and may decide something, and over
    a main effect at each level of the other axes: that it turns round is said, too."""
    floor = noise.size if noise is not None else 0.0
    # An effect itself, then what it is at each level.
    family = {
        (at, nth): spread.p
        for at, one in enumerate(found)
        for nth, spread in enumerate((one.spread, *(spread for _, _, spread in one.given)))
        if spread.p is not None and not short[one.response.name]
    }
    adjusted = dict(zip(family, holm(list(family.values())), strict=True))
    effects = []
    for at, one in enumerate(found):
        sure = [
            known
            for nth, known in enumerate(one.given, start=1)
            if _holds(known[2], adjusted.get((at, nth)), one.response, floor)
        ]
        turned = reversal(sure, one.response.scale)
        effects.append(_effect(one, adjusted.get((at, 0)), floor, repeats, turned))
    return tuple(effects)


def _holds(spread: Spread, p: float | None, response: Response, floor: float) -> bool:
    """floor: the logarithm of a ratio that the machine alone could be, of what is not of a text."""
    if p is None or p >= ERROR_RATE:
        return False
    if response.scale != "ratio" or response.sampled == "text" or not floor:
        return True
    return abs(math.log(spread.value)) > floor


def _effect(
    one: _Found, p: float | None, floor: float, repeats: Repeats, turned: Reversal | None
) -> AblationEffect:
    # An interaction is a difference of two.
    most = floor * len(one.contrast.changes)
    significant = _holds(one.spread, p, one.response, most)
    return AblationEffect(
        changes=tuple(_change(change) for change in one.contrast.changes),
        response=one.response.name,
        value=one.spread.value,
        low=one.spread.low,
        high=one.spread.high,
        p=p,
        significant=significant,
        conditional=_conditionals(one),
        sentence=_sentence(one, repeats, turned) if significant and _worth_telling(one) else "",
        shares=dict(one.explanation.shares) if one.explanation is not None else {},
    )


def _worth_telling(one: _Found) -> bool:
    """A simulated machine makes a difference of a thousandth certain, and no more interesting."""
    if one.response.sampled in ("exact", "text"):
        return False
    value = one.spread.value
    size = abs(math.log(value)) if one.response.scale == "ratio" else abs(value)
    return size >= LEAST_TOLD * len(one.contrast.changes)


def _sentence(one: _Found, repeats: Repeats, turned: Reversal | None) -> str:
    if one.sides is not None:
        return interaction_sentence(
            one.response, one.contrast, one.spread, *one.sides, one.explanation
        )
    return main_sentence(one.response, one.contrast, one.spread, one.explanation, repeats, turned)


def _conditionals(one: _Found) -> tuple[Conditional, ...]:
    if one.sides is None:
        return ()
    second = one.contrast.changes[1]
    return tuple(
        Conditional(level_text(level), side.value, side.low, side.high)
        for level, side in zip((second.base, second.level), one.sides, strict=True)
    )


def _largest_first(
    effects: Sequence[AblationEffect], responses: Sequence[Response]
) -> list[AblationEffect]:
    """Main effects before interactions; within each, ratios by the size of their logarithm, with a
    difference of a share counted as it is."""
    scales = {one.name: one.scale for one in responses}

    def size(effect: AblationEffect) -> float:
        ratio = scales[effect.response] == "ratio"
        return abs(float(np.log(effect.value))) if ratio else abs(effect.value)

    told = [effect for effect in effects if effect.sentence]
    return sorted(told, key=lambda effect: (not effect.is_main, -size(effect)))


def _measured(response: Response, repeats: Repeats) -> _Measured:
    """A ratio to nothing says nothing: where a value is 0, effects are differences."""
    measures = [
        {cell: one.measures[response.name] for cell, one in cells.items()} for cells in repeats
    ]
    least = min(one.value() for cells in measures for one in cells.values())
    if response.scale == "ratio" and least <= 0:
        response = replace(response, scale="difference")
    return _Measured(response, measures)


def _check_same_requests(repeats: Repeats) -> None:
    """All cells of a repeat must have been sent one plan, or nothing is paired."""
    for cells in repeats:
        prints = {one.result.workload.fingerprint: cell.name for cell, one in cells.items()}
        if len(prints) > 1:
            names = " and ".join(list(prints.values())[:2])
            raise ConfigError(
                "axes", names, "cells that can be sent the same requests; these cannot"
            )


def _cell(
    cell: Cell,
    factorial: Factorial,
    invalid: Mapping[Cell, str],
    repeats: Repeats,
    measured: Sequence[_Measured],
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


def _notes(
    factorial: Factorial,
    invalid: Mapping[Cell, str],
    count: int,
    responses: Sequence[Response],
    short: Mapping[str, str],
    noise: Noise | None,
    kept: Sequence[Accounted],
) -> tuple[str, ...]:
    """What the numbers cannot carry, the worst first."""
    found = [
        f"{cell.name} is not valid and enters no effect: {why}" for cell, why in invalid.items()
    ]
    found += [f"{one.cell.name} was not run: {one.reason}" for one in factorial.not_run]
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
    unsteady: dict[str, Any] = {}
    for run in kept:
        validity = run.result.validity
        for check in validity.failures:
            # A disturbance is told above, as why nothing is decided.
            told = check in validity.disturbances or check.id in ("steady", "tail")
            if not check.fatal and not told:
                unsteady.setdefault(check.id, f"{run.directory.name}: {check.detail}")
    return (*found, *unsteady.values())


def _setting(design: Design, result: Result) -> tuple[str, ...]:
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


def _axis(axis: Axis) -> AblationAxis:
    return AblationAxis(axis.name, tuple(level_text(level) for level in axis.levels))


def _change(change: Change) -> AblationChange:
    return AblationChange(change.axis, level_text(change.base), level_text(change.level))


def _response(response: Response, short: str) -> AblationResponse:
    metric, stat = response.name.split(".")
    return AblationResponse(metric, stat, response.unit, response.better, response.scale, short)
