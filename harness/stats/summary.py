"""A distribution in nine numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .percentiles import percentiles

PERCENTILES = {"p50": 50.0, "p90": 90.0, "p95": 95.0, "p99": 99.0}


def summary(values: Sequence[float], weights: Sequence[float] | None = None) -> dict[str, float]:
    """count, mean, std, min, p50, p90, p95, p99, max, as `result.json` stores them.

    std divides by the count (numpy's default). weights: seconds each value lasted; mean and std
    are then over time, while percentiles, min and max still take each value once. Weights that
    are all zero weigh alike. Raises ValueError for no values: an absent metric is left out.
    """
    if not values:
        raise ValueError("no values to summarise")
    data = np.asarray(values, dtype=np.float64)
    weight = np.ones(len(data)) if weights is None else np.asarray(weights, dtype=np.float64)
    if not weight.any():
        weight = np.ones(len(data))
    mean = float(np.average(data, weights=weight))
    return {
        "count": float(len(data)),
        "mean": mean,
        "std": float(np.sqrt(np.average((data - mean) ** 2, weights=weight))),
        "min": float(data.min()),
        **dict(zip(PERCENTILES, percentiles(data, list(PERCENTILES.values())), strict=True)),
        "max": float(data.max()),
    }
