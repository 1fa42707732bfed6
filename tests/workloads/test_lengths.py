"""Lengths follow their distributions; pairs have the correlation that was asked for."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llmbench.workloads.lengths import quantile, sample_pairs
from llmbench.workloads.spec import (
    FixedLength,
    HistogramLength,
    LognormalLength,
    NormalLength,
    QuantileLength,
    UniformLength,
)
from scipy.stats import truncnorm

from .distributions import assert_counts_follow

FIXED = FixedLength(kind="fixed", tokens=64)
AZURE_INPUT = LognormalLength(kind="lognormal", mu=6.63, sigma=0.99)
AZURE_OUTPUT = LognormalLength(kind="lognormal", mu=5.02, sigma=0.86)


def rng(seed: int = 3) -> np.random.Generator:
    return np.random.default_rng(seed)


def at(length: object, *probabilities: float) -> list[int]:
    return quantile(length, np.array(probabilities)).tolist()  # type: ignore[arg-type]


def test_fixed() -> None:
    assert at(FIXED, 0.0, 0.5, 1.0) == [64, 64, 64]


def test_uniform_gives_each_number_an_equal_share() -> None:
    die = UniformLength(kind="uniform", min_tokens=1, max_tokens=6)
    assert at(die, 0, 0.1, 0.17, 0.34, 0.51, 0.67, 0.84, 1) == [1, 1, 2, 3, 4, 5, 6, 6]


def test_lognormal_quantiles_from_a_normal_table() -> None:
    """z is 0 at 0.5, 1.2816 at 0.9, 2.3263 at 0.99: e^6.63 = 757.5, and so on."""
    expected = [math.exp(6.63), math.exp(6.63 + 0.99 * 1.2816), math.exp(6.63 + 0.99 * 2.3263)]
    assert at(AZURE_INPUT, 0.5, 0.9, 0.99) == pytest.approx(expected, abs=1)


def test_a_cut_off_lognormal_keeps_its_shape_within_its_bounds() -> None:
    """Its CDF is (F(x) - F(min)) / (F(max) - F(min)): nothing heaps up on a bound."""
    cut = LognormalLength(kind="lognormal", mu=6.63, sigma=0.99, min_tokens=200, max_tokens=2000)
    samples = sample_pairs(20_000, cut, FIXED, 0, rng())[:, 0]
    log = NormalDist(6.63, 0.99)
    low, high = log.cdf(math.log(200)), log.cdf(math.log(2000))

    def cdf(x: np.ndarray) -> np.ndarray:
        inside = np.clip(x, 200, 2000)
        return np.array([(log.cdf(math.log(v)) - low) / (high - low) for v in inside])

    assert_counts_follow(samples, cdf)
    assert samples.min() >= 200
    assert samples.max() <= 2000


def test_a_lognormal_far_outside_its_bounds_stays_on_them() -> None:
    far = LognormalLength(kind="lognormal", mu=20, sigma=0.1, min_tokens=5, max_tokens=9)
    assert set(at(far, 0, 0.5, 1)) <= set(range(5, 10))


def test_quantiles_are_met_at_their_points_and_geometric_between() -> None:
    """Half-way in probability between 10 and 1000 tokens lies their geometric mean, 100."""
    points = ((0.0, 10), (0.5, 1000), (1.0, 4000))
    length = QuantileLength(kind="quantiles", points=points)
    assert at(length, 0, 0.25, 0.5, 0.75, 1) == [10, 100, 1000, 2000, 4000]


def test_a_normal_is_scipys_truncated_normal() -> None:
    length = NormalLength(kind="normal", mean=300, std=200, min_tokens=50, max_tokens=450)
    expected = truncnorm((50 - 300) / 200, (450 - 300) / 200, loc=300, scale=200)
    u = np.array([0.001, 0.1, 0.37, 0.5, 0.9, 0.999])
    assert quantile(length, u) == pytest.approx(expected.ppf(u), abs=0.51)
    samples = sample_pairs(20_000, length, FIXED, 0, rng())[:, 0]
    assert_counts_follow(samples, lambda x: expected.cdf(np.clip(x, 50, 450)))


def test_a_normal_without_a_bound_is_cut_off_at_one_token() -> None:
    """Mass below 1 token is spread over the rest and not heaped on 1."""
    length = NormalLength(kind="normal", mean=10, std=10)
    assert at(length, 0.5) == [round(truncnorm(-0.9, np.inf, loc=10, scale=10).ppf(0.5))]


def test_a_lognormal_without_a_bound_is_cut_off_at_one_token() -> None:
    """As a normal is. Known wrong here: two thirds of these had 1 token, and not a third."""
    length = LognormalLength(kind="lognormal", mu=0, sigma=1)
    expected = np.exp(truncnorm(0, np.inf).ppf([0.3, 0.5, 0.9]))
    assert at(length, 0.3, 0.5, 0.9) == np.rint(expected).astype(int).tolist()


def test_a_histogram_holds_its_edges_lower_whole_numbers() -> None:
    """Two bins of one number each, an empty one, and one of three: 10, 11, 12."""
    length = HistogramLength(kind="histogram", edges=(1, 2, 3, 9.5, 13), counts=(1, 1, 0, 6))
    assert at(length, 0, 0.12, 0.13, 0.24, 0.25, 0.49, 0.51, 0.76, 1) == [
        *(1, 1, 2, 2, 10, 10, 11, 12, 12)
    ]


def test_a_histogram_drawn_is_the_histogram_given() -> None:
    """Against numpy's own counting, within four standard deviations of each bin's share."""
    edges, counts = (4.0, 4.36, 8.72, 100.0, 1000.0), (0.1, 0.2, 0.5, 0.2)
    length = HistogramLength(kind="histogram", edges=edges, counts=counts)
    samples = sample_pairs(20_000, length, FIXED, 0, rng())[:, 0]
    found, _ = np.histogram(samples, edges)
    for count, share in zip(found, counts, strict=True):
        assert count / 20_000 == pytest.approx(share, abs=4 * (share * (1 - share) / 20_000) ** 0.5)
    inside = samples[(samples >= 9) & (samples < 100)]
    assert_counts_follow(inside, lambda x: np.clip((np.floor(x) - 8) / 91, 0, 1))


@pytest.mark.parametrize("correlation", [-0.9, -0.11, 0.0, 0.7])
def test_the_logarithms_of_lognormal_pairs_have_the_copulas_correlation(correlation: float) -> None:
    pairs = sample_pairs(40_000, AZURE_INPUT, AZURE_OUTPUT, correlation, rng())
    found = np.corrcoef(np.log(pairs.T))[0, 1]
    assert found == pytest.approx(correlation, abs=0.02)


@pytest.mark.parametrize("correlation", [-1.0, 0.0, 0.8])
def test_correlation_leaves_each_distribution_as_it_is(correlation: float) -> None:
    pairs = sample_pairs(20_000, AZURE_INPUT, AZURE_OUTPUT, correlation, rng())
    for column, length in ((0, AZURE_INPUT), (1, AZURE_OUTPUT)):
        log = NormalDist(length.mu, length.sigma)
        assert_counts_follow(
            pairs[:, column],
            lambda x, log=log: np.array([log.cdf(math.log(max(v, 0.5))) for v in x]),
        )


LENGTHS = st.one_of(
    st.builds(FixedLength, kind=st.just("fixed"), tokens=st.integers(1, 9999)),
    st.builds(
        LognormalLength,
        kind=st.just("lognormal"),
        mu=st.floats(-5, 12),
        sigma=st.floats(0.01, 4),
        min_tokens=st.integers(1, 100),
        max_tokens=st.integers(100, 9999),
    ),
    st.builds(
        NormalLength,
        kind=st.just("normal"),
        mean=st.floats(-500, 9999),
        std=st.floats(0.1, 4000),
        min_tokens=st.integers(1, 100),
        max_tokens=st.integers(100, 9999),
    ),
    st.builds(
        UniformLength,
        kind=st.just("uniform"),
        min_tokens=st.integers(1, 50),
        max_tokens=st.integers(50, 9999),
    ),
)


@settings(deadline=None)
@given(
    first=LENGTHS,
    second=LENGTHS,
    correlation=st.floats(-1, 1),
    n=st.integers(1, 50),
    more=st.integers(0, 20),
)
def test_pairs_are_whole_within_bounds_and_a_longer_run_begins_alike(
    first: FixedLength, second: LognormalLength, correlation: float, n: int, more: int
) -> None:
    pairs = sample_pairs(n, first, second, correlation, rng())
    assert pairs.shape == (n, 2)
    assert pairs.dtype == np.int64
    assert pairs.min() >= 1
    assert pairs.max() <= 9999
    for column, length in ((0, first), (1, second)):
        if not isinstance(length, FixedLength):
            assert pairs[:, column].min() >= length.min_tokens
    longer = sample_pairs(n + more, first, second, correlation, rng())
    assert longer[:n].tolist() == pairs.tolist()
