"""From stored cells to what a report says of them: effects, their family, their sentences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ...engines.errors import ConfigError
from ...reports.ablation_model import Ablation
from ..comparison.admissible import objections
from ..comparison.observed import Observed
from ..errors import InvalidRun
from ..result import Result, Simulation
from ..storage.store import RunOnDisk, StoredRun
from .contrasts import Contrast, conditional, contrasts
from .design import Cell, Design, Level
from .effects import estimate
from .factorial import Factorial, Measured, Repeats
from .family import Found, judge_family, largest_first
from .mechanism import Accounted, explain
from .noise import machine_noise
from .responses import Response, responses_for, too_few, too_little
from .told import notes_of, setting_of, told_axis, told_cell, told_response


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
    results = [one.result for cells in repeats for one in cells.values()]
    _check_same_requests(repeats)
    measured = [_measured(response, repeats) for response in responses_for(results)]
    responses = [one.response for one in measured]
    found = [effect for one in measured for effect in _effects(design, wanted, valid, one, repeats)]
    named = [[(runs[cell].directory.name, runs[cell].result) for runs in repeats] for cell in valid]
    short = {one.name: too_little(one, named) for one in responses}
    noise = machine_noise(repeats)
    effects = judge_family(found, short, noise, repeats)
    return Ablation(
        title=" × ".join(axis.name for axis in design.axes),
        setting=setting_of(design, results[0]),
        repeats=count,
        simulated=any(result.simulation is not None for result in results),
        simulation_error=_simulation_error(results),
        axes=tuple(told_axis(axis) for axis in design.axes),
        responses=tuple(
            told_response(one, short[one.name], too_few(one, named)) for one in responses
        ),
        cells=tuple(
            told_cell(cell, factorial, invalid, repeats, measured) for cell in design.cells
        ),
        effects=effects,
        sentences=tuple(one.sentence for one in largest_first(effects, responses)),
        notes=notes_of(factorial, invalid, count, responses, short, noise, repeats),
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
    measured: Measured,
    repeats: Repeats,
) -> list[Found]:
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
            found.append(Found(response, contrast, spread, because, given=known))
        else:
            both = (known[0][2], known[1][2]) if known else None
            found.append(Found(response, contrast, spread, because, both))
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


def _measured(response: Response, repeats: Repeats) -> Measured:
    """A ratio to nothing says nothing: where a value is 0, effects are differences."""
    measures = [
        {cell: one.measures[response.name] for cell, one in cells.items()} for cells in repeats
    ]
    least = min(one.value() for cells in measures for one in cells.values())
    if response.scale == "ratio" and least <= 0:
        response = replace(response, scale="difference")
    return Measured(response, measures)


def _check_same_requests(repeats: Repeats) -> None:
    """All cells of a repeat must have been sent one plan, or nothing is paired."""
    for cells in repeats:
        prints = {one.result.workload.fingerprint: cell.name for cell, one in cells.items()}
        if len(prints) > 1:
            names = " and ".join(list(prints.values())[:2])
            raise ConfigError(
                "axes", names, "cells that can be sent the same requests; these cannot"
            )
