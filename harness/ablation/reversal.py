"""Whether a main effect is a mean of opposites: better at one level of another axis, worse at the
other. The mean is then right and yet true of no cell, so whoever states it must say so."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from .design import Level
from .effects import EffectEstimate
from .responses import Scale


@dataclass(frozen=True)
class Reversal:
    """The same change, up at one level of an axis and down at another, both beyond doubt."""

    axis: str
    falls_at: Level
    falls: EffectEstimate
    rises_at: Level
    rises: EffectEstimate


def reversal(known: Sequence[tuple[str, Level, EffectEstimate]], scale: Scale) -> Reversal | None:
    """The widest one among a change's effects at each level of other axes; None if there is none.

    known: axis, level, effect there, of those that hold among all that is judged. Only effects
    whose interval excludes none count.
    """
    none = 1.0 if scale == "ratio" else 0.0
    found = [
        Reversal(axis, this, fall, that, rise)
        for (axis, this, fall), (other, that, rise) in itertools.permutations(known, 2)
        if axis == other
        and fall.high is not None
        and rise.low is not None
        and fall.high < none < rise.low
    ]

    def width(one: Reversal) -> float:
        if scale == "ratio":
            return one.rises.value / one.falls.value
        return one.rises.value - one.falls.value

    return max(found, key=width, default=None)
