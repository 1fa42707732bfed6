"""Whether a series keeps its level, or changes it: little by little, or at once.

Both are looked for together. Of a straight line and of every split into two levels, the one that
explains most of the series is held against what is explained of series without any change: a line
against lines, and a split against the best of all shapes. No distribution is assumed: those series
are made of this one's own innovations in another order, so that their neighbours are as alike.

Sources: the greatest of many contrasts: Hothorn and Zeileis, "Generalized maximally selected
statistics", Biometrics 64 (2008); innovations in the place of values: Hušková, Kirch, Prášková and
Steinebach, "On the detection of changes in autoregressive time series, II", JSPI 138 (2008).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from .autoregression import from_innovations, innovations, lag_one

SIGNIFICANCE = 0.01
PERMUTATIONS = 499
FEWEST = 10
# A tenth of the values at least is on either side of a split: fewer are an outlier.
SHORTEST = 0.1
# The same sums in another order differ in the last digit.
_ROUNDING = 1e-9

_Floats = NDArray[np.float64]


@dataclass(frozen=True)
class LevelChange:
    """index: of the first value after it; of a gradual one, the middle. before, after: the mean on
    either side; of a gradual one, the ends of the line. p: the share of series without a change,
    this one counted as one, of which as much is explained."""

    index: int
    before: float
    after: float
    gradual: bool
    p: float


def level_change(values: Sequence[float]) -> LevelChange | None:
    """The change of level that the values show; None if they show none, or are fewer than ten.

    A change that goes back to where it came from is not looked for: bursts would look like it.
    The correlation of neighbours is that about the line or the levels, for with a change in them
    all neighbours are alike. The same values give the same answer.
    """
    data = np.asarray(values, dtype=np.float64)
    if len(data) < FEWEST:
        return None
    shapes = _shapes(len(data))
    apart = data - data.mean()
    spread = float(apart @ apart)
    if spread <= _ROUNDING**2 * float(data @ data):
        return None
    fits = shapes @ apart
    best = int(np.abs(fits).argmax())
    line = fits[best] * shapes[best]
    # The line comes first, then the splits in order.
    gradual = best == 0
    index = len(data) // 2 if gradual else _shortest(len(data)) + best - 1
    rivals = shapes[:1] if gradual else shapes
    p = _p_value(apart - line, index, float(fits[best] ** 2) / spread, rivals)
    if p > SIGNIFICANCE:
        return None
    mean = float(data.mean())
    return LevelChange(index, mean + float(line[0]), mean + float(line[-1]), gradual, p)


def _p_value(rest: _Floats, index: int, explained: float, rivals: _Floats) -> float:
    """rest: what the best shape leaves of the series, which would be all of it without a change."""
    phi = lag_one(rest, (index,))
    order = np.random.default_rng(0).permuted(
        np.tile(innovations(rest, phi), (PERMUTATIONS, 1)), axis=1
    )
    series = order @ from_innovations(len(rest), phi).T
    series -= series.mean(axis=1, keepdims=True)
    most = ((series @ rivals.T) ** 2).max(axis=1)
    as_good = most >= explained * (1 - _ROUNDING) * (series**2).sum(axis=1)
    # A rest of nothing explains nothing: the change is all there is.
    as_good &= most > 0
    return float(1 + np.count_nonzero(as_good)) / (1 + PERMUTATIONS)


@lru_cache(maxsize=64)
def _shapes(count: int) -> _Floats:
    """[shapes, count], each of mean 0 and length 1: a straight line, then every split."""
    ramp = np.arange(count, dtype=np.float64)
    first = _shortest(count)
    splits = [ramp >= index for index in range(first, count - first + 1)]
    shapes = np.array([ramp, *splits], dtype=np.float64)
    shapes -= shapes.mean(axis=1, keepdims=True)
    shapes /= np.sqrt((shapes**2).sum(axis=1, keepdims=True))
    shapes.setflags(write=False)
    return shapes


def _shortest(count: int) -> int:
    return max(2, round(SHORTEST * count))
