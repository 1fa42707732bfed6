"""Main effects and two-way interactions as weights on the cells: pure arithmetic of a design.

The main effect of an axis from its base to a level is the mean, over the levels of the other axes,
of the change between cells that differ in nothing else. A two-way interaction is how much more the
first axis changes at a level of the second than at the second's base (Box, Hunter and Hunter,
"Statistics for Experimenters", 2nd edition, 2005, chapter 5; they halve the interaction, which is
half as easy to read as a ratio of ratios). Over logarithms, a mean of changes is a geometric mean
of ratios.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .design import Axis, Cell, Design, Level


@dataclass(frozen=True)
class Change:
    """One axis from its base to another level."""

    axis: str
    base: Level
    level: Level


@dataclass(frozen=True)
class Contrast:
    """One effect: of a change, or of a change on another's effect.

    pairs: the cells compared, base first, for a main effect; for an interaction those of the first
    change, at the second's level and then at its base. weights: [cells of the design], what each
    cell's value counts; they sum to 0.
    """

    changes: tuple[Change, ...]
    pairs: tuple[tuple[Cell, Cell], ...]
    weights: NDArray[np.float64]

    @property
    def is_main(self) -> bool:
        return len(self.changes) == 1


def contrasts(design: Design, measured: Collection[Cell]) -> tuple[Contrast, ...]:
    """Every effect that the measured cells can show: main effects, then two-way interactions.

    A missing cell takes the comparisons it belongs to with it; an effect left with none is left
    out.
    """
    found: list[Contrast] = []
    for axis in design.axes:
        found.extend(
            one for change in _changes(axis) if (one := _main(design, change, measured)) is not None
        )
    for first, second in itertools.combinations(design.axes, 2):
        for one, other in itertools.product(_changes(first), _changes(second)):
            if (both := _interaction(design, one, other, measured)) is not None:
                found.append(both)
    return tuple(found)


def conditional(
    design: Design, change: Change, at: tuple[str, Level], measured: Collection[Cell]
) -> Contrast | None:
    """The effect of a change while another axis stays at one level."""
    return _of_pairs(design, (change,), _pairs(design, change, measured, dict([at])))


def _main(design: Design, change: Change, measured: Collection[Cell]) -> Contrast | None:
    return _of_pairs(design, (change,), _pairs(design, change, measured, {}))


def _interaction(
    design: Design, first: Change, second: Change, measured: Collection[Cell]
) -> Contrast | None:
    """Only over the cells that are there at both levels of the second axis."""
    at_level = _pairs(design, first, measured, {second.axis: second.level})
    at_base = _pairs(design, first, measured, {second.axis: second.base})
    both: list[tuple[tuple[Cell, Cell], tuple[Cell, Cell]]] = []
    for pair in at_level:
        beside = tuple(cell.but(**{second.axis: second.base}) for cell in pair)
        both.extend((pair, other) for other in at_base if other == beside)
    if not both:
        return None
    weights = sum(
        _weights(design, [pair]) - _weights(design, [other]) for pair, other in both
    ) / len(both)
    pairs = tuple(pair for pair, _ in both) + tuple(other for _, other in both)
    return Contrast((first, second), pairs, np.asarray(weights))


def _changes(axis: Axis) -> tuple[Change, ...]:
    return tuple(Change(axis.name, axis.base, level) for level in axis.levels[1:])


def _pairs(
    design: Design, change: Change, measured: Collection[Cell], fixed: dict[str, Any]
) -> tuple[tuple[Cell, Cell], ...]:
    """Measured cells at the base and at the level that agree in all else."""
    found = []
    for cell in design.cells:
        levels = cell.overrides
        if levels[change.axis] != change.base or any(levels[k] != v for k, v in fixed.items()):
            continue
        other = cell.but(**{change.axis: change.level})
        if cell in measured and other in measured:
            found.append((cell, other))
    return tuple(found)


def _of_pairs(
    design: Design, changes: tuple[Change, ...], pairs: tuple[tuple[Cell, Cell], ...]
) -> Contrast | None:
    return Contrast(changes, pairs, _weights(design, pairs)) if pairs else None


def _weights(design: Design, pairs: Collection[tuple[Cell, Cell]]) -> NDArray[np.float64]:
    place = {cell: at for at, cell in enumerate(design.cells)}
    weights = np.zeros(len(place))
    for base, other in pairs:
        weights[place[base]] -= 1 / len(pairs)
        weights[place[other]] += 1 / len(pairs)
    return weights
