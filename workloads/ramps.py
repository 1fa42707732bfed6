"""Poisson processes whose rate changes, by exact inversion: nothing is thinned or binned.

The n-th arrival is where the expected count L(t), the integral of the rate from 0 to t, reaches
the n-th arrival of a Poisson process of rate 1 (Cinlar, Introduction to Stochastic Processes,
1975, section 4.7). Each function gives, for such counts, the times in seconds; infinity where the
rate is 0 from some time on and the count is never reached.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from .api import WorkloadError
from .spec import ExponentialRamp, LinearRamp
from .spec.bounds import MOST_REQUESTS

Seconds = NDArray[np.float64]


def ramp_times_s(
    ramp: LinearRamp | ExponentialRamp, num_requests: int | None, rng: np.random.Generator
) -> Seconds:
    """The first `num_requests` arrivals; None: all within the ramp's duration, perhaps none.

    Raises WorkloadError: more of them than can be sent.
    """
    total = expected_requests(ramp)
    if num_requests is not None:
        return invert(ramp, np.cumsum(rng.standard_exponential(num_requests)))
    if total > MOST_REQUESTS:
        expected = f"at most {MOST_REQUESTS:,}: num_requests, a lower rate, or less time"
        problem = f"bring some {total:,.4g} requests"
        raise WorkloadError("arrivals", ramp.kind, expected, problem)
    draws = rng.standard_exponential(math.ceil(total + 6 * math.sqrt(total) + 16))
    while draws.sum() <= total:
        draws = np.concatenate((draws, rng.standard_exponential(len(draws))))
    counts = np.cumsum(draws)
    return invert(ramp, counts[counts < total])


def expected_requests(ramp: LinearRamp | ExponentialRamp) -> float:
    """The mean number of arrivals within the ramp's duration: the integral of its rate."""
    start, end, duration_s = ramp.start_rate_per_s, ramp.end_rate_per_s, ramp.duration_s
    if isinstance(ramp, LinearRamp) or start == end:
        return (start + end) / 2 * duration_s
    return (end - start) * duration_s / math.log(end / start)


def invert(ramp: LinearRamp | ExponentialRamp, counts: Seconds) -> Seconds:
    """Seconds at which the expected count reaches each of `counts`."""
    total, end = expected_requests(ramp), ramp.end_rate_per_s
    inverse = _linear if isinstance(ramp, LinearRamp) else _exponential
    within = inverse(ramp.start_rate_per_s, end, ramp.duration_s, np.minimum(counts, total))
    beyond = np.maximum(counts - total, 0.0)
    with np.errstate(divide="ignore"):
        after_s = np.divide(beyond, end, out=np.zeros_like(beyond), where=beyond > 0)
    return within + after_s


def _linear(start: float, end: float, duration_s: float, counts: Seconds) -> Seconds:
    """The root of start t + (end - start) t^2 / (2 duration) = count, in the form that loses no
    digits where the rate hardly changes."""
    slope = (end - start) / duration_s
    root = np.sqrt(np.maximum(start**2 + 2 * slope * counts, 0.0))
    below = start + root
    return np.divide(2 * counts, below, out=np.zeros_like(counts), where=below > 0)


def _exponential(start: float, end: float, duration_s: float, counts: Seconds) -> Seconds:
    """The root of start (e^(k t) - 1) / k = count, with k = ln(end / start) / duration."""
    growth = math.log(end / start) / duration_s
    if growth == 0:
        return counts / start
    return np.log1p(np.maximum(growth * counts / start, -1 + 2.0**-53)) / growth
