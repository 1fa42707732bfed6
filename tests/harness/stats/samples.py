"""Samples of which each value is a unit of its own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from llmbench.harness.stats.bootstrap import Sample
from numpy.typing import NDArray


def one_each(values: Sequence[float] | NDArray[np.float64]) -> Sample:
    data = np.asarray(values, dtype=np.float64)
    return Sample(data, np.arange(len(data)), len(data))
