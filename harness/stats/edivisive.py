"""E-divisive: where a series of numbers steps from one level to another.

No distribution is assumed, and no threshold in the series' own unit has to be chosen: a split is
kept if few permutations of the same values show one as good. Where neighbours are alike, as runs of
one night on one machine, the values cannot be permuted: then their innovations are.

Sources: Matteson and James, "A nonparametric approach for multiple change point analysis of
multivariate data", JASA 109 (2014), with alpha = 1 and each segment's right end held fixed; used on
the results of performance tests by Daly et al., "The use of change point detection to identify
software performance regressions in a continuous integration system", ICPE 2020. Innovations in the
place of values: Hušková, Kirch, Prášková and Steinebach, "On the detection of changes in
autoregressive time series, II: Resampling procedures", JSPI 138 (2008).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from math import comb

import numpy as np
from numpy.typing import NDArray

from .autoregression import at_most, from_innovations, innovations, lag_one
from .distances import to_all, to_earlier

SIGNIFICANCE = 0.01
PERMUTATIONS = 999
# The same two parts, in another order, add up to another last digit.
_ROUNDING = 1e-9
# Permutations at a time: few at first, for a series without a step seldom takes more.
_FIRST_ROWS = 8
_VALUES_AT_A_TIME = 16_384  # keeps what permutations take within a few MB

_Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ChangePoint:
    """index: of the first value on the new level. p: the share of permutations, the series itself
    counted as one, that split as well; of values, or of innovations where neighbours are alike. A
    step in a part that another one cut is no surer than that one: it has at least its p."""

    index: int
    p: float


def change_points(
    values: Sequence[float],
    *,
    significance: float = SIGNIFICANCE,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> tuple[ChangePoint, ...]:
    """Every step, in order. The best split of the series is tested, then those of its two parts.

    Each test calls a step that is not there with a chance of `significance`, if the values are
    independent; a series without any is tested once. What is found so is tested again at the
    correlation of neighbours between those steps: with them in it every step would look like one.
    What was taken for steps takes correlation away, so it is the most that can be believed.
    Few values cannot show any: of the 126 ways to part nine into four and five, two are as good as
    the best, which is more than a hundredth. The same values give the same answer.
    """
    data = np.asarray(values, dtype=np.float64)
    found = _divided(data, 0.0, significance, permutations, seed)
    if not found:
        return ()
    phi = at_most(lag_one(data, [one.index for one in found]), len(data))
    again = _divided(data, phi, significance, permutations, seed)
    # Permuted values stay the first test: no step is called that they do not show.
    least = min(one.p for one in found)
    return tuple(ChangePoint(one.index, max(one.p, least)) for one in again)


def _divided(
    data: _Floats, phi: float, significance: float, permutations: int, seed: int
) -> tuple[ChangePoint, ...]:
    """Every step of a series whose neighbours are correlated by phi."""
    rng = np.random.default_rng(seed)
    found: list[ChangePoint] = []
    segments = [(0, len(data), 0.0)]
    while segments:
        start, end, cut = segments.pop()
        if end - start < 2:
            continue
        segment = data[start:end]
        at, divergence = best_split(segment)
        if divergence <= 0:
            continue
        p = _p_value(segment, phi, divergence, permutations, significance, rng)
        if p <= significance:
            surest = max(p, cut)
            found.append(ChangePoint(start + at, surest))
            segments += [(start, start + at, surest), (start + at, end, surest)]
    return tuple(sorted(found, key=lambda one: one.index))


def fewest_values(significance: float) -> int:
    """Below how many values a step is found by luck at most, however far apart its levels are: of
    the ways to part them into halves, two are as good as the best, the split and its mirror image.
    Permutations are drawn at random, so that those must be half of what the significance allows:
    then more than it allows come up in about one draw of thirty."""
    return next(
        count for count in itertools.count(2) if 2 / comb(count, count // 2) <= significance / 2
    )


def best_split(values: _Floats) -> tuple[int, float]:
    """Where the two parts of a segment differ most, and by how much: at the first of those that
    are as good but for rounding."""
    (divergence,) = _divergences(values[None, :])
    most = float(divergence.max())
    return int((divergence >= most * (1 - _ROUNDING)).argmax()) + 1, most


def _divergences(values: _Floats) -> _Floats:
    """[series, n] -> [series, n - 1], of each split.

    For a split into m and n values X, Y the divergence is
    m n / (m + n) (2 E|X - Y| - E|X - X'| - E|Y - Y'|); the mean within a part is over its pairs.
    """
    count = values.shape[1]
    # Sums of large numbers lose the digits in which they differ.
    values = values - np.median(values, axis=1, keepdims=True)
    left = np.arange(1, count)
    right = count - left
    rows = to_all(values).cumsum(axis=1)
    whole, rows_left = rows[:, -1:], rows[:, :-1]
    within_left = 2 * to_earlier(values).cumsum(axis=1)[:, :-1]
    between = rows_left - within_left
    within_right = whole - 2 * rows_left + within_left
    pairs = left * right
    gap = 2 * between / pairs
    gap -= within_left / np.maximum(left * (left - 1), 1)
    gap -= within_right / np.maximum(right * (right - 1), 1)
    return pairs / count * gap


def _p_value(
    segment: _Floats,
    phi: float,
    divergence: float,
    permutations: int,
    significance: float,
    rng: np.random.Generator,
) -> float:
    """1 as soon as it is above the significance, which most series show at once."""
    least = divergence * (1 - _ROUNDING)
    new = innovations(segment, phi)
    series = from_innovations(len(segment), phi).T if phi else None  # itself, without correlation
    as_good = drawn = 0
    rows = _FIRST_ROWS
    while drawn < permutations:
        rows = min(rows, permutations - drawn, max(1, _VALUES_AT_A_TIME // len(segment)))
        state = rng.bit_generator.state
        orders = np.array([rng.permutation(new) for _ in range(rows)])
        found = _divergences(orders if series is None else orders @ series).max(axis=1)
        upto = as_good + np.cumsum(found >= least)
        above = 1 + upto > significance * (1 + permutations)
        if above.any():
            # The next segment's orders do not depend on how many of this one's were drawn at once.
            rng.bit_generator.state = state
            for _ in range(int(above.argmax()) + 1):
                rng.permutation(new)
            return 1.0
        as_good, drawn, rows = int(upto[-1]), drawn + rows, 2 * rows
    return (1 + as_good) / (1 + permutations)
