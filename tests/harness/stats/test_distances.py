"""Sums of distances, held against a matrix of them."""

from __future__ import annotations

import numpy as np
import pytest
from llmbench.harness.stats.distances import to_all, to_earlier


@pytest.mark.parametrize("count", [1, 2, 31, 32, 33, 64, 65, 200])
@pytest.mark.parametrize("tied", [False, True])
def test_they_are_those_of_a_matrix(count: int, tied: bool) -> None:
    rng = np.random.default_rng()
    values = rng.normal(size=(3, count))
    values = np.round(values) if tied else values
    matrix = np.abs(values[:, :, None] - values[:, None, :])
    assert to_all(values) == pytest.approx(matrix.sum(axis=2))
    assert to_earlier(values) == pytest.approx(np.tril(matrix).sum(axis=2))
