"""Ramps against the closed forms of an inhomogeneous Poisson process, and scipy's integrals."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llmbench.workloads.api import WorkloadError
from llmbench.workloads.arrivals import due_times_s
from llmbench.workloads.ramps import expected_requests, invert, ramp_times_s
from llmbench.workloads.spec import ExponentialRamp, LinearRamp
from scipy.integrate import quad
from scipy.stats import poisson

from .distributions import assert_follows

Ramp = LinearRamp | ExponentialRamp


def rng(seed: int = 7) -> np.random.Generator:
    return np.random.default_rng(seed)


def linear(start: float, end: float, duration_s: float) -> LinearRamp:
    return LinearRamp(
        kind="linear_ramp", start_rate_per_s=start, end_rate_per_s=end, duration_s=duration_s
    )


def exponential(start: float, end: float, duration_s: float) -> ExponentialRamp:
    return ExponentialRamp(
        kind="exponential_ramp", start_rate_per_s=start, end_rate_per_s=end, duration_s=duration_s
    )


def rate_per_s(ramp: Ramp, t_s: float) -> float:
    """The definition: the same amount, or the same factor, every second; then constant."""
    share = min(t_s / ramp.duration_s, 1.0)
    start, end = ramp.start_rate_per_s, ramp.end_rate_per_s
    if isinstance(ramp, LinearRamp):
        return start + (end - start) * share
    return start * (end / start) ** share


def test_a_linear_ramp_from_nothing_reaches_counts_at_square_roots() -> None:
    """From 0 to 2 requests/s in 10 s: t^2 / 10 are expected by t. Beyond 10 s, 2 a second."""
    times_s = invert(linear(0, 2, 10), np.array([0.0, 0.1, 2.5, 10.0, 14.0]))
    assert times_s == pytest.approx([0, 1, 5, 10, 12])


def test_an_exponential_ramp_doubles() -> None:
    """1, 2, 4 requests/s at 0, 1, 2 s: (2^t - 1) / ln 2 are expected by t."""
    counts = np.array([1, 3]) / math.log(2)
    assert invert(exponential(1, 4, 2), counts) == pytest.approx([1, 2])


RAMPS = [linear(1, 9, 40), linear(9, 0, 40), exponential(0.5, 20, 30), exponential(8, 0.1, 50)]
IDS = ["up", "down to 0", "growth", "decay"]


@pytest.mark.parametrize("ramp", RAMPS, ids=IDS)
def test_the_expected_count_is_the_integral_of_the_rate(ramp: Ramp) -> None:
    integral, _ = quad(lambda t: rate_per_s(ramp, t), 0, ramp.duration_s)
    assert expected_requests(ramp) == pytest.approx(integral)
    for share in (0.1, 0.6, 0.95):
        (t_s,) = invert(ramp, np.array([share * integral]))
        assert quad(lambda t: rate_per_s(ramp, t), 0, t_s)[0] == pytest.approx(share * integral)


@pytest.mark.parametrize("ramp", RAMPS, ids=IDS)
def test_arrivals_have_the_density_of_the_rate(ramp: Ramp) -> None:
    """Given their number, arrivals within the ramp are independent draws with the rate's shape."""
    times_s = np.concatenate([ramp_times_s(ramp, None, rng(seed)) for seed in range(60)])
    total = quad(lambda t: rate_per_s(ramp, t), 0, ramp.duration_s)[0]
    some = rng().choice(times_s, 2000, replace=False)

    def cdf(x: np.ndarray) -> np.ndarray:
        return np.array([quad(lambda t: rate_per_s(ramp, t), 0, v)[0] / total for v in x])

    assert_follows(some, cdf)


def test_how_many_come_is_poisson_and_not_fixed() -> None:
    """Mean and variance agree; a count forced to its mean would have no variance."""
    ramp = linear(0, 10, 10)
    counts = np.array([len(ramp_times_s(ramp, None, rng(seed))) for seed in range(2000)])
    assert counts.mean() == pytest.approx(50, abs=4 * (50 / 2000) ** 0.5)
    assert counts.var() == pytest.approx(50, rel=0.15)
    assert (counts <= 50).mean() == pytest.approx(poisson(50).cdf(50), abs=0.04)


def test_a_ramp_that_does_not_change_is_poisson() -> None:
    for ramp in (linear(5, 5, 100), exponential(5, 5, 100)):
        gaps_s = np.diff(ramp_times_s(ramp, 5000, rng()))
        assert_follows(gaps_s, lambda x: 1 - np.exp(-5 * x))


def test_a_ramp_to_nothing_ends() -> None:
    ramp = linear(4, 0, 5)
    due_s = due_times_s(ramp, None, rng())
    assert due_s is not None
    with pytest.raises(WorkloadError) as caught:
        due_times_s(ramp, 1000, rng())
    assert str(caught.value) == (
        f"num_requests: 1000 is more than there are; expected at most {len(due_s)}, "
        "which the linear_ramp arrivals bring with this seed"
    )


def test_a_ramp_may_bring_nothing_and_says_so() -> None:
    with pytest.raises(WorkloadError, match="arrivals: 'linear_ramp' bring no request"):
        due_times_s(linear(0, 1e-6, 1), None, rng())


rates = st.floats(1e-3, 1e3)


@settings(deadline=None)
@given(
    ramp=st.one_of(
        st.builds(linear, rates, rates, st.floats(0.1, 1e3)),
        st.builds(exponential, rates, rates, st.floats(0.1, 1e3)),
    ),
    n=st.integers(1, 60),
    more=st.integers(0, 40),
    seed=st.integers(0, 2**32),
)
def test_times_never_decrease_and_a_longer_run_begins_alike(
    ramp: Ramp, n: int, more: int, seed: int
) -> None:
    short = ramp_times_s(ramp, n, rng(seed))
    assert short.shape == (n,)
    assert np.isfinite(short).all()
    assert short[0] >= 0
    assert (np.diff(short) >= 0).all()
    assert ramp_times_s(ramp, n + more, rng(seed))[:n].tolist() == short.tolist()
    whole = ramp_times_s(ramp, None, rng(seed)) if expected_requests(ramp) < 1e4 else short
    shared = min(n, len(whole))
    assert whole[:shared].tolist() == short[:shared].tolist()


@pytest.mark.parametrize("ramp", [exponential(1, 1e9, 1e9), linear(0, 1e9, 9)])
def test_more_requests_than_can_be_sent_are_refused(ramp: Ramp) -> None:
    """Of those that bring their own number; the first few may be sent all the same."""
    with pytest.raises(WorkloadError, match=r"bring some .* requests; expected at most 10,000,000"):
        due_times_s(ramp, None, rng())
    few = due_times_s(ramp, 20, rng())
    assert few is not None
    assert len(few) == 20
