"""A process whose rate changes every so often: a steady one, on a clock that goes fast and slow.

A Cox process where the steady one is Poisson (Cox, Journal of the Royal Statistical Society B
17(2), 1955): the rate of each period is drawn anew, from a gamma distribution. By the law of total
variance a period of mean m requests then has a variance of m + (m c)^2, with c the rates' CV, so
that the index of dispersion is 1 + c^2 m, at a period's length and at any number of whole periods.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .api import WorkloadError
from .spec import Gamma, Modulated

Seconds = NDArray[np.float64]

# So many rates can be held.
_MOST_PERIODS = 10_000_000


@dataclass(frozen=True)
class Clock:
    """steady_s: [periods + 1] what the steady process' clock shows at the end of each period, 0
    first. A second of a period at twice the mean rate is two of it."""

    period_s: float
    steady_s: Seconds

    def due(self, times_s: Seconds) -> Seconds:
        """When that is due which the steady process brings at `times_s`, no later than the clock
        goes."""
        edges_s = np.arange(len(self.steady_s)) * self.period_s
        return np.interp(times_s, self.steady_s, edges_s)

    def shown(self, due_s: float) -> float:
        """What it shows at a time within its periods."""
        edges_s = np.arange(len(self.steady_s)) * self.period_s
        return float(np.interp(due_s, edges_s, self.steady_s))


def steady(arrivals: Modulated) -> Gamma:
    """The process at the mean rate all the time."""
    return Gamma(kind="gamma", rate_per_s=arrivals.rate_per_s, cv=arrivals.cv)


def clock_for(arrivals: Modulated, due_s: float, rng: np.random.Generator) -> Clock:
    """One that goes for at least `due_s` seconds. Raises WorkloadError for `arrivals.period_s`."""
    return Clock(arrivals.period_s, _run(arrivals, math.ceil(due_s / arrivals.period_s) + 1, rng))


def clock_until(arrivals: Modulated, steady_s: float, rng: np.random.Generator) -> Clock:
    """One that goes until it shows `steady_s`. Raises WorkloadError for `arrivals.period_s`."""
    seed = int(rng.integers(2**63))
    periods = math.ceil(steady_s / arrivals.period_s) + 16
    while True:
        # Begun anew each time: a longer clock begins like a shorter one.
        shown_s = _run(arrivals, periods, np.random.default_rng(seed))
        if shown_s[-1] >= steady_s:
            return Clock(arrivals.period_s, shown_s)
        periods *= 2


def _run(arrivals: Modulated, periods: int, rng: np.random.Generator) -> Seconds:
    if periods > _MOST_PERIODS:
        raise WorkloadError(
            "arrivals.period_s",
            arrivals.period_s,
            f"longer periods, or fewer requests: at most {_MOST_PERIODS:,} periods",
        )
    shape = arrivals.rate_cv**-2
    rates = rng.standard_gamma(shape, periods) / shape
    return np.concatenate(([0.0], np.cumsum(rates * arrivals.period_s)))
