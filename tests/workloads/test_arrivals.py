"""Due times: hand-computed where nothing is random, known distributions where something is."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from llmbench.workloads import arrivals, processes
from llmbench.workloads.spec import (
    AtOnce,
    Client,
    Clients,
    ClosedLoop,
    Constant,
    Gamma,
    Modulated,
    OnOff,
    Poisson,
    Replay,
)

from .distributions import assert_follows


def rng(seed: int = 7) -> np.random.Generator:
    return np.random.default_rng(seed)


def cv(due_s: np.ndarray) -> float:
    gaps = np.diff(due_s)
    return gaps.std() / gaps.mean()


def test_constant_is_constant() -> None:
    due_s = arrivals.due_times_s(Constant(kind="constant", rate_per_s=4), 5, rng())
    assert due_s is not None
    assert due_s.tolist() == [0.0, 0.25, 0.5, 0.75, 1.0]


def test_constant_is_not_exponential_however_long_it_lasts() -> None:
    """Every gap is the same to a rounding error: a tool that shipped exponential gaps under this
    name had a CV of 1. And the last is not moved: N requests span N - 1 gaps, not N."""
    due_s = arrivals.due_times_s(Constant(kind="constant", rate_per_s=3), 10_001, rng())
    assert due_s is not None
    assert np.diff(due_s) == pytest.approx(np.full(10_000, 1 / 3), abs=1e-9)
    assert due_s[-1] == pytest.approx(10_000 / 3, abs=1e-9)


def test_at_once_is_due_at_zero() -> None:
    due_s = arrivals.due_times_s(AtOnce(kind="at_once"), 3, rng())
    assert due_s is not None
    assert due_s.tolist() == [0.0, 0.0, 0.0]


def test_closed_loop_has_no_due_times() -> None:
    assert arrivals.due_times_s(ClosedLoop(kind="closed_loop", max_concurrency=2), 3, rng()) is None


def test_replay_starts_at_zero_and_scales_gaps() -> None:
    spec = Replay.model_validate({"kind": "replay", "path": "t.csv", "time_scale": 0.5})
    due_s = arrivals.due_times_s(spec, 3, rng(), [10.0, 11.0, 14.0])
    assert due_s is not None
    assert due_s.tolist() == [0.0, 0.5, 2.0]  # twice as fast


def test_poisson_gaps_are_exponential() -> None:
    gaps_s = np.diff(processes.poisson(20_001, 5.0, rng()))
    assert_follows(gaps_s, lambda x: 1 - np.exp(-5.0 * x))


def test_poisson_end_is_not_rescaled() -> None:
    """The last of N arrivals varies like a gamma of shape N - 1: CV 1 / sqrt(N - 1)."""
    ends = np.array([processes.poisson(101, 2.0, rng(seed))[-1] for seed in range(2000)])
    assert ends.mean() == pytest.approx(50.0, rel=0.02)
    assert ends.std() / ends.mean() == pytest.approx(0.1, rel=0.1)


@pytest.mark.parametrize("burstiness", [0.25, 1.0, 4.0])
def test_vllms_burstiness_is_a_gamma_of_cv_its_inverse_root(burstiness: float) -> None:
    """vLLM draws gaps from gamma(shape=burstiness, scale=1 / (rate * burstiness))."""
    gaps_s = np.diff(processes.gamma(20_001, 3.0, burstiness**-0.5, rng()))
    expected = scipy.stats.gamma(burstiness, scale=1 / (3.0 * burstiness))
    assert_follows(gaps_s, expected.cdf)


@pytest.mark.parametrize("wanted", [0.3, 1.09, 2.5])
def test_gamma_has_its_rate_and_cv(wanted: float) -> None:
    due_s = processes.gamma(100_000, 5.53, wanted, rng())
    assert (len(due_s) - 1) / due_s[-1] == pytest.approx(5.53, rel=0.03)
    assert cv(due_s) == pytest.approx(wanted, rel=0.03)


def test_gamma_of_shape_one_half_is_a_squared_normal() -> None:
    """Gamma(1/2) is chi-squared with one degree of freedom: its CDF is 2 Phi(sqrt(2 x)) - 1."""
    gaps_s = np.diff(processes.gamma(20_001, 0.5, 2**0.5, rng()))
    phi = NormalDist().cdf
    # At rate 1/2 and shape 1/2 the scale is 4: gap / 4 ~ Gamma(1/2), unit scale.
    assert_follows(gaps_s, lambda x: np.array([2 * phi((v / 2) ** 0.5) - 1 for v in x]))


def test_on_off_matches_the_moments_worked_by_hand() -> None:
    """r = 10, mean_on = 10, mean_off = 20: s m = 2, so the mean gap is (1 + 2) / 10 = 0.3, and
    E[gap^2] = 2/100 + 4*2/100 + 2*0.1*400/10 + 2*0.01*400/100 = 8.18; CV^2 = 8.18/0.09 - 1."""
    due_s = processes.on_off(400_000, 10, 10, 20, rng())
    assert np.diff(due_s).mean() == pytest.approx(0.3, rel=0.03)
    assert cv(due_s) == pytest.approx((8.18 / 0.09 - 1) ** 0.5, rel=0.05)


def test_on_off_is_poisson_while_on() -> None:
    """With silences far longer than any gap while ON, the short gaps are the ON gaps.

    A gap without silence is one that ends before the next switch: exponential at rate r + s.
    """
    gaps_s = np.diff(processes.on_off(30_000, 10, 5, 1e9, rng()))
    assert_follows(gaps_s[gaps_s < 1e3], lambda x: 1 - np.exp(-(10 + 0.2) * x))


def test_rates_asked_for() -> None:
    assert arrivals.request_rate_per_s(Poisson(kind="poisson", rate_per_s=3)) == 3
    assert arrivals.request_rate_per_s(AtOnce(kind="at_once")) is None
    bursts = OnOff(kind="on_off", on_rate_per_s=9, mean_on_s=10, mean_off_s=20)
    assert arrivals.request_rate_per_s(bursts) == pytest.approx(3)
    senders = tuple(Client(rate_per_s=rate) for rate in (1, 2, 4))
    assert arrivals.request_rate_per_s(Clients(kind="clients", clients=senders)) == 7


PROCESSES = st.one_of(
    st.builds(Poisson, kind=st.just("poisson"), rate_per_s=st.floats(1e-3, 1e4)),
    st.builds(Constant, kind=st.just("constant"), rate_per_s=st.floats(1e-3, 1e4)),
    st.builds(Gamma, kind=st.just("gamma"), rate_per_s=st.floats(1e-3, 1e4), cv=st.floats(0.1, 20)),
    st.builds(
        OnOff,
        kind=st.just("on_off"),
        on_rate_per_s=st.floats(1e-2, 1e3),
        mean_on_s=st.floats(1e-3, 1e3),
        mean_off_s=st.floats(1e-3, 1e3),
    ),
    st.builds(
        Modulated,
        kind=st.just("modulated"),
        rate_per_s=st.floats(1e-1, 1e3),
        period_s=st.floats(1e-1, 1e3),
        rate_cv=st.floats(0.1, 5),
        cv=st.floats(0.1, 5),
    ),
)


@settings(deadline=None)
@given(process=PROCESSES, n=st.integers(1, 200), seed=st.integers(0, 2**32))
def test_due_times_start_at_zero_never_decrease_and_are_finite(
    process: Poisson | Constant | Gamma | OnOff | Modulated, n: int, seed: int
) -> None:
    due_s = arrivals.due_times_s(process, n, rng(seed))
    assert due_s is not None
    assert due_s.shape == (n,)
    assert due_s[0] == 0
    assert (np.diff(due_s) >= 0).all()
    assert np.isfinite(due_s).all()


@settings(deadline=None)
@given(process=PROCESSES, n=st.integers(1, 50), more=st.integers(0, 50))
def test_a_longer_run_begins_like_a_shorter_one(
    process: Poisson | Constant | Gamma | OnOff | Modulated, n: int, more: int
) -> None:
    short = arrivals.due_times_s(process, n, rng())
    longer = arrivals.due_times_s(process, n + more, rng())
    assert short is not None
    assert longer is not None
    assert longer[:n].tolist() == short.tolist()
