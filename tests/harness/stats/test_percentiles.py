"""Percentiles against the standard library, and the repeated form against numpy."""

from __future__ import annotations

import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from llmbench.harness.stats.percentiles import percentile, repeated_percentile

FINITE = st.floats(-1e6, 1e6, allow_nan=False)


def test_interpolates_between_neighbours() -> None:
    # Position (4 - 1) x 0.9 = 2.7: 30 + 0.7 x 10.
    assert percentile([40, 10, 20, 30], 90) == pytest.approx(37.0)


@given(st.lists(FINITE, min_size=2, max_size=50), st.integers(1, 99))
def test_agrees_with_the_standard_library(values: list[float], q: int) -> None:
    expected = statistics.quantiles(values, n=100, method="inclusive")[q - 1]

    assert percentile(values, q) == pytest.approx(expected, rel=1e-9, abs=1e-6)


@given(
    st.lists(st.tuples(FINITE, st.integers(0, 4)), min_size=1, max_size=30).filter(
        lambda pairs: any(times for _, times in pairs)
    ),
    st.floats(0, 100),
)
def test_repeating_without_repeating(pairs: list[tuple[float, int]], q: float) -> None:
    pairs = sorted(pairs)
    values = np.array([value for value, _ in pairs])
    times = np.array([[times for _, times in pairs]])
    expected = np.percentile(np.repeat(values, times[0]), q)

    assert repeated_percentile(values, times, q)[0] == pytest.approx(expected, rel=1e-9, abs=1e-6)


def test_a_resample_of_nothing_has_no_percentile() -> None:
    assert np.isnan(repeated_percentile(np.array([1.0, 2.0]), np.array([[0, 0]]), 50)[0])
