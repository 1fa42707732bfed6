"""Steps in several series that are looked at together: none is called by chance but with the chance
that was asked for.

Every series is tested as E-divisive tests one, and Holm's correction runs over the tests of whole
series: a series' p is that of its best split, than which none of its steps is surer. What its
correction multiplies that by multiplies all of its steps'.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from .edivisive import PERMUTATIONS, SIGNIFICANCE, ChangePoint, change_points
from .holm import holm

# Permutations for the smallest p that a family may need: so many times over, as alone.
_TIMES_OVER = 10


def family_steps(
    family: Sequence[Sequence[float]],
    *,
    significance: float = SIGNIFICANCE,
    begins: Callable[[int], None] = lambda _: None,
) -> tuple[tuple[ChangePoint, ...], ...]:
    """The steps of each series. significance: of all of them together; p: corrected. begins: is
    told the place of each series before it is tested."""
    fewest = math.ceil(_TIMES_OVER * len(family) / significance) - 1  # the series is one, too
    permutations = max(PERMUTATIONS, fewest)
    found: list[tuple[ChangePoint, ...]] = []
    for at, series in enumerate(family):
        begins(at)
        found.append(change_points(series, significance=significance, permutations=permutations))
    surest = [min((one.p for one in points), default=1.0) for points in found]
    return tuple(
        tuple(
            replace(one, p=min(1.0, one.p * adjusted / p))
            for one in points
            if one.p * adjusted / p <= significance
        )
        for points, p, adjusted in zip(found, surest, holm(surest), strict=True)
    )
