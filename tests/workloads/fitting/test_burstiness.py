"""Dispersion by hand and in closed form."""

from __future__ import annotations

import numpy as np
import pytest
from llmbench.workloads import processes
from llmbench.workloads.fitting.burstiness import (
    burstiness,
    index_of_dispersion,
    on_off_dispersion,
)


def test_dispersion_by_hand() -> None:
    """Counts 3, 1, 2 in whole seconds, the fourth not whole: mean 2, variance 2/3."""
    times_s = np.array([0, 0.2, 0.9, 1.5, 2.1, 2.2, 3.4])
    assert index_of_dispersion(times_s, 1.0) == pytest.approx(1 / 3)


def test_constant_arrivals_have_none_and_bursts_of_ten_have_nine_tenths_of_ten() -> None:
    """Ten at once every second second: counts 10, 0, 10, 0: mean 5, variance 25."""
    assert index_of_dispersion(np.arange(0, 100, 0.25), 1.0) == 0
    assert index_of_dispersion(np.repeat(np.arange(0, 101, 2.0), 10), 1.0) == pytest.approx(5)


def test_poisson_is_one_at_every_window() -> None:
    found = burstiness(processes.poisson(60_000, 5.0, np.random.default_rng(3)))
    assert found is not None
    assert found.rate_per_s == pytest.approx(5, rel=0.02)
    assert found.gap_cv == pytest.approx(1, rel=0.03)
    # The variance of a sample variance: 2 / windows.
    for window_s, value in found.dispersion.items():
        assert value == pytest.approx(1, abs=4 * (2 * window_s / 12_000) ** 0.5)


@pytest.mark.parametrize("window_s", [1.0, 10.0, 60.0])
def test_on_off_has_the_dispersion_of_its_closed_form(window_s: float) -> None:
    times_s = processes.on_off(400_000, 10, 4, 8, np.random.default_rng(5))
    expected = on_off_dispersion(10 / 3, 1 / 3, 4, window_s)
    assert index_of_dispersion(times_s, window_s) == pytest.approx(expected, rel=0.06)


def test_no_time_no_burstiness() -> None:
    assert burstiness(np.zeros(5)) is None
    assert burstiness(np.array([])) is None
    short = burstiness(np.array([0.0, 1.0, 3.0]))
    assert short is not None
    assert short.dispersion == {}


def test_what_is_held_is_as_many_as_the_requests_and_not_as_the_windows() -> None:
    """One request each 10^9 s, and two beside others: 10^12 windows, of which two hold two."""
    times_s = np.sort(np.concatenate((np.arange(0, 1.0000001e12, 1e9), [5e9, 7e9])))
    windows, total = 10**12, 1000 + 2
    expected = (windows * (998 + 4 + 4) - total**2) / (windows * total)
    assert index_of_dispersion(times_s, 1.0) == pytest.approx(expected, rel=1e-12)
    far = processes.on_off(200, 1e-9, 1e-9, 1e9, np.random.default_rng(0))
    assert burstiness(far) is not None
