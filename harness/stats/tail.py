"""A high percentile of many resamples, from the values of the tail alone.

A p99 lies among the largest few hundredths of the values: counting down from the top, the rest is
never looked at. The same numbers as `percentiles.repeated_percentile`, some thirty times as fast.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .percentiles import index_at

if TYPE_CHECKING:
    from .bootstrap import Sample

# Percentiles from here on are counted from the top.
TAIL_FROM = 90.0


def columns(samples: int, q: float) -> int:
    """About how many of so many values the tail of a resample is looked for in."""
    return int(4 * (1 - q / 100) * samples)


def tail_percentile(ascending: Sample, times: NDArray[np.int32], q: float) -> NDArray[np.float64]:
    """The q-th percentile of each resample; NaN for one without values.

    times: [resamples, units], how often each unit was drawn. Returns [resamples].
    """
    held = np.bincount(ascending.units, minlength=ascending.num_units)
    total = times @ held
    position = np.maximum(total - 1, 0) * (q / 100)
    below = np.floor(position)
    # Ranks from the top: 0 is the largest value.
    low_rank = np.maximum(total - 1 - below, 0)
    high_rank = np.maximum(low_rank - 1, 0)
    values, units = ascending.values[::-1], ascending.units[::-1]
    count = int(3 * (1 - q / 100) * len(values)) + 50
    upto = np.cumsum(times[:, units[:count]], axis=1, dtype=np.int32)
    while count < len(values) and (upto[:, -1] <= low_rank).any():
        count = min(2 * count, len(values))
        upto = np.cumsum(times[:, units[:count]], axis=1, dtype=np.int32)
    low = values[index_at(upto, low_rank)]
    high = values[index_at(upto, high_rank)]
    return np.where(total > 0, low + (high - low) * (position - below), np.nan)
