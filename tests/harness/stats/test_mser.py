"""Truncation of series whose warm-up is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llmbench.harness.stats.mser import mser5


def test_the_ramp_is_dropped_and_little_more() -> None:
    noise = np.random.default_rng(1).normal(0, 1, 200)
    series = np.concatenate([np.linspace(0, 90, 30), np.full(170, 100.0)]) + noise

    cut = mser5(series.tolist())

    assert cut is not None
    assert 30 <= cut <= 50


def test_by_hand() -> None:
    # Batch means 0, 10, 10, ...: dropping the first leaves no error at all.
    assert mser5([0.0] * 5 + [10.0] * 95) == 5


def test_a_steady_series_loses_nothing() -> None:
    assert mser5([7.0] * 100) == 0


def test_growth_to_the_end_is_no_steady_state() -> None:
    assert mser5([float(i) for i in range(200)]) is None


@pytest.mark.parametrize("length", [0, 4, 49])
def test_too_short_to_tell(length: int) -> None:
    assert mser5([1.0] * length) is None


@settings(max_examples=30)
@given(st.lists(st.floats(0, 1e6), min_size=50, max_size=200), st.integers(-10, 10))
def test_the_unit_of_the_series_does_not_matter(series: list[float], power: int) -> None:
    # Scaling by a power of two is exact, so that ties cannot break another way.
    assert mser5([value * 2.0**power for value in series]) == mser5(series)


@settings(max_examples=30)
@given(st.lists(st.floats(0, 1e6), min_size=50, max_size=300))
def test_at_most_half_is_dropped_in_whole_batches(series: list[float]) -> None:
    cut = mser5(series)

    assert cut is None or (cut % 5 == 0 and 0 <= cut <= len(series) / 2)
