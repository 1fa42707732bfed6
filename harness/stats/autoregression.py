"""Series whose neighbours are alike: x_t = phi x_{t-1} + e_t, with levels that differ.

The innovations e are what can be put into any order, where the values cannot. A series is taken for
a circle, whose first value follows its last: then as many innovations as values give exactly these
values back.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

# Beyond it a series wanders, and no level can be told from another.
MOST = 0.9
_UPPER = 1.645

_Floats = NDArray[np.float64]


def lag_one(values: _Floats, steps: Sequence[int] = ()) -> float:
    """phi, from 0 to `MOST`: the correlation of neighbours about the mean of their level. steps:
    where a new level begins.

    With one mean taken off it comes out too small by (1 + 4 phi) / n to first order (Kendall;
    Marriott and Pope; both Biometrika 41, 1954), and by another (1 + 2 phi) / n for each level
    more: its mean, and the product across its edge. That is put back.
    """
    levels = [values[a:b] for a, b in pairwise((0, *steps, len(values)))]
    rest = [level - level.mean() for level in levels]
    squares = sum(float(one @ one) for one in rest)
    if squares == 0:
        return 0.0
    found = sum(float(one[1:] @ one[:-1]) for one in rest) / squares
    further = len(levels) - 1
    short = (1 + 4 * found + further * (1 + 2 * found)) / len(values)
    return min(max(found + short, 0.0), MOST)


def at_most(phi: float, count: int) -> float:
    """The upper end of phi's one-sided 95 % interval, up to `MOST`: its standard error over so many
    values is sqrt((1 - phi^2) / n) (Bartlett, J. Royal Statistical Society Supplement 8, 1946)."""
    return min(phi + _UPPER * math.sqrt((1 - phi**2) / count), MOST)


def innovations(values: _Floats, phi: float) -> _Floats:
    """[n] -> [n]: what each value has that the one before does not explain."""
    return values - phi * np.roll(values, 1)


def from_innovations(count: int, phi: float) -> _Floats:
    """[n, n], which times innovations is the series: x_t = sum of phi^k e_{t-k} / (1 - phi^n)."""
    back = (np.arange(count)[:, None] - np.arange(count)[None, :]) % count
    return np.power(phi, back, dtype=np.float64) / (1 - phi**count)
