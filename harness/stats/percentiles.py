"""Percentiles, by one rule everywhere."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray


def percentile(values: ArrayLike, q: float) -> float:
    """The q-th percentile (0 to 100), interpolating linearly between the two nearest samples.

    Definition 7 of Hyndman and Fan, "Sample Quantiles in Statistical Packages", The American
    Statistician 50 (1996): numpy's default, and what vLLM and aiperf print.
    """
    return float(np.percentile(np.asarray(values, dtype=np.float64), q))


def percentiles(values: ArrayLike, qs: Sequence[float]) -> list[float]:
    """Several of them at the price of little more than one."""
    return np.percentile(np.asarray(values, dtype=np.float64), qs).tolist()


def repeated_percentile(
    values: NDArray[np.float64], times: NDArray[np.int32], q: float
) -> NDArray[np.float64]:
    """The same percentile of `np.repeat(values, times)`, for many rows of `times` at once.

    values: [samples], ascending. times: [rows, samples]. Returns [rows]; NaN for a row of zeros.
    """
    upto = np.cumsum(times, axis=1, dtype=np.int32)
    total = upto[:, -1]
    position = np.maximum(total - 1, 0) * (q / 100)
    below = np.floor(position)
    above = np.minimum(below + 1, np.maximum(total - 1, 0))
    low = values[index_at(upto, below)]
    high = values[index_at(upto, above)]
    found = low + (high - low) * (position - below)
    return np.where(total > 0, found, np.nan)


def index_at(upto: NDArray[np.int32], rank: NDArray[np.float64]) -> NDArray[np.int64]:
    """Which sample holds the rank-th of the repeated values, a row at a time.

    upto: [rows, samples], how many values there are up to each sample. rank: [rows], from 0.
    """
    passed = np.count_nonzero(upto <= rank[:, None].astype(np.int32), axis=1)
    return np.minimum(passed, upto.shape[1] - 1)
