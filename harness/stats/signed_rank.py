"""By how much one side is slower, from pairs that were measured in turns: the signed-rank interval.

Differences d_1..d_n are taken to lie symmetrically about the effect; where a coin decided which
side of a pair came first, that is so by design, whatever the noise. The sum of the ranks of the
positive ones then has a distribution that is known exactly, and inverting the test gives an
interval of the effect that neither outliers nor a second level of the noise widen much.

Sources: Fisher, "The Design of Experiments" (1935), for the coin; Wilcoxon, Biometrics Bulletin 1
(1945); Hodges and Lehmann, Annals of Mathematical Statistics 34 (1963), for the estimate; Hollander
and Wolfe, "Nonparametric Statistical Methods" (2nd edition, 1999), section 3.3, for the interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from .bootstrap import Estimate

Floats = NDArray[np.float64]


@lru_cache(maxsize=256)
def _lower_tail(n: int) -> Floats:
    """P(T <= t) for t = 0..n(n+1)/2, T the sum of the ranks whose sign is positive."""
    chances = np.ones(1)
    for rank in range(1, n + 1):
        longer = np.zeros(len(chances) + rank)
        longer[: len(chances)] += chances
        longer[rank:] += chances
        chances = longer / 2
    return np.cumsum(chances)


def upper_p(differences: Floats, null: float = 0.0) -> float:
    """P(rank sum at least this large) if the effect were `null`: small speaks for more than that.

    Equal magnitudes share their mean rank; the sum is then rounded down, against a finding.
    """
    shifted = differences - null
    magnitudes = np.abs(shifted)
    # The rank of each magnitude, the mean of its equals.
    below = (magnitudes[None, :] < magnitudes[:, None]).sum(axis=1)
    equal = (magnitudes[None, :] == magnitudes[:, None]).sum(axis=1)
    ranks = below + (equal + 1) / 2
    total = int(np.floor((ranks * (shifted > 0)).sum() + ranks[shifted == 0].sum() / 2))
    n = len(shifted)
    # The distribution is symmetric: P(T >= t) = P(T <= n(n+1)/2 - t).
    return float(min(1.0, _lower_tail(n)[n * (n + 1) // 2 - total]))


def interval(differences: Sequence[float] | Floats, level: float) -> Estimate:
    """The median of the Walsh averages (d_i + d_j) / 2, i <= j, and the interval that misses the
    effect with a chance of at most `level`; infinite where so few differences cannot say."""
    data = np.asarray(differences, dtype=np.float64)
    n = len(data)
    first, second = np.triu_indices(n)
    walsh = np.sort((data[first] + data[second]) / 2)
    cut = left_out(n, level)
    low, high = (-np.inf, np.inf) if cut is None else (walsh[cut], walsh[len(walsh) - 1 - cut])
    return Estimate(float(np.median(walsh)), float(low), float(high))


def left_out(n: int, level: float) -> int | None:
    """How many Walsh averages lie below the interval, and as many above it; None if the interval
    of all of them still misses the effect too often."""
    reached = int(np.searchsorted(_lower_tail(n), level / 2, side="right"))
    return reached - 1 if reached else None


def fewest_pairs(level: float) -> int:
    """Differences below which no interval at that level is finite: 6 for 0.05."""
    n = 1
    while 2 * 0.5**n > level:
        n += 1
    return n


def rejects(differences: Floats, null: float, level: float) -> NDArray[np.bool_]:
    """Whether the interval at `level` lies above `null`, a row at a time.

    differences: [rows, n]. Without Walsh averages: for simulations of thousands of rows.
    """
    rows, n = differences.shape
    cut = left_out(n, level)
    if cut is None:
        return np.zeros(rows, dtype=np.bool_)
    shifted = differences - null
    order = np.argsort(np.abs(shifted), axis=1)
    positive = np.take_along_axis(shifted > 0, order, axis=1)
    missing = n * (n + 1) // 2 - positive @ np.arange(1, n + 1)
    # The interval begins above null exactly if at most so many averages are not.
    return missing <= cut
