"""A rate that changes every so often: by hand, by its law of total variance, and within bounds."""

from __future__ import annotations

import numpy as np
import pytest
from llmbench.workloads.api import WorkloadError
from llmbench.workloads.arrivals import due_times_s
from llmbench.workloads.fitting.burstiness import index_of_dispersion
from llmbench.workloads.modulated import Clock
from llmbench.workloads.spec import Modulated


def modulated(**changed: float) -> Modulated:
    fields = {"rate_per_s": 10, "period_s": 2, "rate_cv": 0.5, **changed}
    return Modulated.model_validate({"kind": "modulated", **fields})


def due_s(arrivals: Modulated, num_requests: int, seed: int = 3) -> np.ndarray:
    found = due_times_s(arrivals, num_requests, np.random.default_rng(seed))
    assert found is not None
    return found


def test_a_clock_worked_by_hand() -> None:
    """Two periods of 2 s, at half the mean rate and at 3 / 2 of it."""
    clock = Clock(2.0, np.array([0.0, 1.0, 4.0]))
    assert clock.due(np.array([0.0, 0.5, 1.0, 2.5, 4.0])).tolist() == [0, 1, 2, 3, 4]
    assert [clock.shown(due) for due in (0.0, 1.0, 3.0)] == [0, 0.5, 2.5]


@pytest.mark.parametrize(
    ("window_s", "dispersion"),
    # Of a period's 20 requests: 1 + 0.5^2 x 20; of half a period's 10: 1 + 0.5^2 x 10.
    [(1.0, 3.5), (2.0, 6.0), (20.0, 6.0)],
)
def test_poisson_counts_vary_by_the_law_of_total_variance(
    window_s: float, dispersion: float
) -> None:
    times_s = due_s(modulated(), 600_000)
    assert len(times_s) / times_s[-1] == pytest.approx(10, rel=0.02)
    assert index_of_dispersion(times_s, window_s) == pytest.approx(dispersion, rel=0.1)


def test_gaps_are_even_while_a_rate_stays() -> None:
    """Of a CV near 0 every period has a gap of its own, but for those that reach into the next."""
    times_s = due_s(modulated(cv=1e-4), 2000)
    period = times_s // 2
    within = period[1:] == period[:-1]
    gaps_s = np.diff(times_s)
    for number in np.unique(period):
        own = gaps_s[within & (period[1:] == number)]
        assert np.ptp(own, axis=0) == pytest.approx(0, abs=1e-3) if len(own) else True
    assert gaps_s[within].std() > 0.01


def test_periods_that_cannot_be_held_are_one_line() -> None:
    with pytest.raises(
        WorkloadError, match=r"^arrivals\.period_s: 0\.001 is not allowed; expected longer periods"
    ):
        due_s(modulated(period_s=0.001, rate_per_s=0.01), 1000)
