"""A change of level is found, and stationary series are left alone, be neighbours ever so alike."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llmbench.harness.stats.level import level_change
from llmbench.harness.stats.mser import batch_means, mser5
from numpy.typing import NDArray

BINS = 200
SERIES = 100
Draw = Callable[[np.random.Generator], NDArray[np.float64]]


def _autoregressive(rng: np.random.Generator, phi: float) -> NDArray[np.float64]:
    """Of mean 1 and standard deviation 0.3."""
    noise = rng.normal(size=BINS + 200)
    found = np.zeros_like(noise)
    for at in range(1, len(noise)):
        found[at] = phi * found[at - 1] + noise[at]
    return 1 + 0.3 * np.sqrt(1 - phi**2) * found[200:]


def _arrivals(rng: np.random.Generator, cv: float) -> NDArray[np.float64]:
    """Replies of 64 tokens, each over a hundredth of the run, at gamma gaps: 300 requests."""
    due_s = rng.gamma(1 / cv**2, cv**2, 300).cumsum()
    tokens_s = due_s[:, None] + 3.0 * np.arange(1, 65) / 64
    return np.histogram(tokens_s, bins=BINS, range=(0, due_s[-1]))[0].astype(np.float64)


def _doubled(rng: np.random.Generator, noise: float, phi: float = 0.0) -> NDArray[np.float64]:
    late = np.arange(BINS) >= rng.uniform(0.6, 0.8) * BINS
    return np.where(late, 2.0, 1.0) * (1 + noise / 0.3 * (_autoregressive(rng, phi) - 1))


def _rise(rng: np.random.Generator) -> NDArray[np.float64]:
    return np.linspace(1, 4, BINS) * (1 + 0.3 * rng.normal(size=BINS))


def _share_found(draw: Draw) -> float:
    """Of what MSER-5 leaves, as of a run; it drops half of a rise, and none of a doubling."""
    rng = np.random.default_rng(11)
    return sum(_is_found(draw(rng).tolist()) for _ in range(SERIES)) / SERIES


def _is_found(series: list[float]) -> bool:
    cut = mser5(series)
    return cut is None or level_change(batch_means(series[cut:]).tolist()) is not None


def _share_mser_alone(draw: Draw) -> float:
    rng = np.random.default_rng(11)
    return sum(mser5(draw(rng).tolist()) is None for _ in range(SERIES)) / SERIES


@pytest.mark.parametrize("phi", [0.0, 0.5, 0.7, 0.9])
def test_few_stationary_series_alarm(phi: float) -> None:
    assert _share_found(lambda rng: _autoregressive(rng, phi)) <= 0.05


@pytest.mark.parametrize("cv", [1.0, 2.0, 3.0])
def test_few_loads_of_one_rate_alarm_however_bursty(cv: float) -> None:
    assert _share_found(lambda rng: _arrivals(rng, cv)) <= 0.05


@pytest.mark.parametrize(("noise", "phi"), [(0.1, 0.0), (0.3, 0.0), (0.5, 0.0), (0.3, 0.5)])
def test_a_doubling_is_found(noise: float, phi: float) -> None:
    """MSER-5 alone takes nearly all of them for steady."""

    def draw(rng: np.random.Generator) -> NDArray[np.float64]:
        return _doubled(rng, noise, phi)

    assert _share_mser_alone(draw) < 0.05
    assert _share_found(draw) > 0.95


def test_a_rise_is_found() -> None:
    assert _share_mser_alone(_rise) < 0.3
    assert _share_found(_rise) > 0.9


def test_by_hand() -> None:
    change = level_change([2.0] * 14 + [5.0] * 6)

    assert change is not None
    assert (change.index, change.before, change.after) == (14, pytest.approx(2), pytest.approx(5))
    assert not change.gradual


def test_a_straight_line_is_gradual() -> None:
    change = level_change([float(at) for at in range(21)])

    assert change is not None
    assert change.gradual
    assert (change.index, change.before, change.after) == (10, pytest.approx(0), pytest.approx(20))


@pytest.mark.parametrize("values", [[], [1.0, 5.0], [1.0] * 8 + [9.0], [7.0] * 40, [0.1] * 40])
def test_nothing_to_find(values: list[float]) -> None:
    assert level_change(values) is None


@settings(max_examples=20)
@given(st.lists(st.floats(0, 1e6), min_size=10, max_size=40), st.integers(-10, 10))
def test_the_unit_of_the_series_does_not_matter(series: list[float], power: int) -> None:
    one, other = level_change(series), level_change([value * 2.0**power for value in series])

    assert (one is None) == (other is None)
    if one is not None and other is not None:
        assert (one.index, one.p) == (other.index, other.p)


@settings(max_examples=20)
@given(st.lists(st.floats(0, 1e6), min_size=10, max_size=40))
def test_the_same_series_gives_the_same_answer(series: list[float]) -> None:
    assert level_change(series) == level_change(series)
