"""The Kolmogorov-Smirnov test against a distribution known in closed form."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Cdf = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def assert_follows(samples: NDArray[np.float64], cdf: Cdf) -> None:
    """Fails when samples this far from `cdf` come up by chance once in a thousand seeds.

    1.95 / sqrt(n) is the asymptotic critical distance at that level.
    """
    x = np.sort(samples)
    n = len(x)
    expected = cdf(x)
    above = (np.arange(1, n + 1) / n - expected).max()
    below = (expected - np.arange(n) / n).max()
    assert max(above, below) < 1.95 / np.sqrt(n)


def assert_counts_follow(samples: NDArray[np.int64], cdf: Cdf) -> None:
    """The same for rounded samples: `cdf` is asked half-way between whole numbers."""
    values = np.arange(samples.min() - 1, samples.max() + 1)
    found = np.searchsorted(np.sort(samples), values, side="right") / len(samples)
    assert np.abs(found - cdf(values + 0.5)).max() < 1.95 / np.sqrt(len(samples))
