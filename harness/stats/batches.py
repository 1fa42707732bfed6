"""What a sequence shows whose neighbours are alike, from the means of its batches.

Source: Schmeiser, "Batch size effects in the analysis of simulation output", Operations Research 30
(1982): means of a few long batches are nearly independent where single values are not, and spread
as far as the mean of all is uncertain. Batches are the blocks of `bootstrap.py`, ten at most, with
its allowance for how few they are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .bootstrap import CONFIDENCE, block_length, widening
from .mcnemar import mcnemar
from .student import two_sided_p


def effective_size(kept: Sequence[bool]) -> float:
    """How many independent requests would show the share of those kept as well as these do.

    kept: in order of arrival, at least one. At most their number: that batches are more alike than
    those of independent requests is chance or their order, and no request counts for two. All of
    them where all or none are kept, for nothing shows then how they hang together.
    """
    count = len(kept)
    share = sum(kept) / count
    batches, variance = _spread_of_mean(kept)
    if variance == 0:
        return float(count)
    widened = widening(batches, CONFIDENCE) ** 2 * variance
    return min(float(count), share * (1 - share) / widened)


def uneven_p(only_first: Sequence[bool], only_second: Sequence[bool]) -> float:
    """The chance of a split of pairs at least as uneven, either way round, if neither wins more.

    Both in order of arrival, of the same length: whether one of two treatments alone succeeded.
    Student's t over batches of the difference, for pairs that go one way come in runs; never less
    than McNemar's exact test, which takes them for independent.
    """
    exact = mcnemar(sum(only_first), sum(only_second))
    difference = np.subtract(only_first, only_second, dtype=np.float64)
    batches, variance = _spread_of_mean(difference)
    if variance == 0:
        return exact
    error = math.sqrt(variance * batches / (batches - 1))
    return max(exact, two_sided_p(float(difference.mean()) / error, batches - 1))


def _spread_of_mean(values: Sequence[bool] | NDArray[np.float64]) -> tuple[int, float]:
    """The number of batches and the variance of the mean of all values, as batches spread about
    that mean: too small by (batches - 1) / batches. The last batch may be shorter."""
    data = np.asarray(values, dtype=np.float64)
    starts = np.arange(0, len(data), block_length(len(data)))
    lengths = np.diff(starts, append=len(data))
    # Sums of whole numbers are exact, so that equal batches differ by nothing.
    apart = np.add.reduceat(data, starts) * len(data) - lengths * data.sum()
    return len(starts), float((apart**2).sum()) / float(len(data)) ** 4
