"""Many senders at once: scipy's distributions, and counts that are stationary from the start."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llmbench.workloads.clients import superposed_times_s, weibull_shape
from llmbench.workloads.spec import Client
from scipy.stats import weibull_min

from .distributions import assert_follows


def rng(seed: int = 7) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("cv", [0.3, 1.0, 2.415, 23.6])
def test_the_shape_of_a_weibull_gives_its_cv(cv: float) -> None:
    known = weibull_min(weibull_shape(cv))
    assert known.std() / known.mean() == pytest.approx(cv, rel=1e-6)


@pytest.mark.parametrize("cv", [0.5, 2.0])
def test_one_weibull_client_has_weibull_gaps(cv: float) -> None:
    times_s = superposed_times_s([Client(rate_per_s=4, cv=cv, family="weibull")], 20_001, rng())
    shape = weibull_shape(cv)
    scale = 0.25 / math.gamma(1 + 1 / shape)
    assert_follows(np.diff(times_s), lambda x: weibull_min(shape, scale=scale).cdf(x))


def test_poisson_clients_add_up_to_a_poisson_process() -> None:
    clients = [Client(rate_per_s=rate) for rate in (1, 2, 3)]
    gaps_s = np.diff(superposed_times_s(clients, 20_001, rng()))
    assert_follows(gaps_s, lambda x: 1 - np.exp(-6 * x))


@pytest.mark.parametrize("family", ["gamma", "weibull"])
@pytest.mark.parametrize("cv", [0.4, 3.0])
def test_the_rate_is_there_from_the_start(family: str, cv: float) -> None:
    """A stationary process brings rate x t in any time t: here 2 in the first second. One that
    began with a request each would bring three more."""
    clients = [Client.model_validate({"rate_per_s": 2 / 3, "cv": cv, "family": family})] * 3
    counts = [int((superposed_times_s(clients, 40, rng(s)) < 1).sum()) for s in range(3000)]
    assert np.mean(counts) == pytest.approx(2, abs=4 * np.std(counts) / 3000**0.5)


def test_a_first_gap_of_gamma_clients_is_a_residual() -> None:
    """Of a renewal process under way, the wait for the next has density (1 - F) / mean. With
    shape 2 (Erlang) and mean 1: its CDF is 1 - (1 + x) e^(-2 x)."""
    client = Client(rate_per_s=1, cv=0.5**0.5)
    firsts = np.array([superposed_times_s([client], 1, rng(seed))[0] for seed in range(4000)])
    assert_follows(firsts, lambda x: 1 - (1 + x) * np.exp(-2 * x))


CLIENTS = st.lists(
    st.builds(
        Client,
        rate_per_s=st.floats(0.01, 100),
        cv=st.floats(0.2, 20),
        family=st.sampled_from(["gamma", "weibull"]),
    ),
    min_size=1,
    max_size=5,
)


@settings(deadline=None, max_examples=40)
@given(clients=CLIENTS, n=st.integers(1, 50), more=st.integers(0, 50), seed=st.integers(0, 2**32))
def test_times_are_in_order_and_a_longer_run_begins_alike(
    clients: list[Client], n: int, more: int, seed: int
) -> None:
    short = superposed_times_s(clients, n, rng(seed))
    assert short.shape == (n,)
    assert (np.diff(short) >= 0).all()
    assert short[0] >= 0
    assert superposed_times_s(clients, n + more, rng(seed))[:n].tolist() == short.tolist()
