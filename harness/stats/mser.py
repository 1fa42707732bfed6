"""MSER-5: where the warm-up of a run ends."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

BATCH = 5
FEWEST_BATCHES = 10


def mser5(series: Sequence[float]) -> int | None:
    """How many leading values to drop so that the rest is as if in steady state.

    The series is averaged in batches of five, Y_1..Y_n (an incomplete last batch is left out), and
    the cut is the d in the first half that minimises  sum_{i>d} (Y_i - mean_{i>d})^2 / (n - d)^2 :
    dropping values must pay for the samples it costs. None if that is the last d of the half, for
    then the series was still changing, or if there are fewer than ten batches.

    Source: White, "An effective truncation heuristic for bias reduction in simulation output",
    Simulation 69 (1997); batches of five: Spratt, master's thesis, University of Virginia (1998);
    no cut beyond half: White, Cobb and Spratt, Winter Simulation Conference (2000).

    It looks for a warm-up and for nothing else: a rate that doubles late in the series passes, for
    no cut in the first half would help. What is left must be tested (`level.py`).
    """
    y = batch_means(series)
    batches = len(y)
    if batches < FEWEST_BATCHES:
        return None
    half = batches // 2
    errors = [((y[d:] - y[d:].mean()) ** 2).sum() / (batches - d) ** 2 for d in range(half + 1)]
    cut = int(np.argmin(errors))
    return cut * BATCH if cut < half else None


def batch_means(series: Sequence[float]) -> NDArray[np.float64]:
    """Means of five values each; an incomplete last batch is left out."""
    batches = len(series) // BATCH
    whole = np.asarray(series[: batches * BATCH], dtype=np.float64)
    return whole.reshape(batches, BATCH).mean(axis=1)
