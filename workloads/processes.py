"""Processes that bring as many requests as are asked for: a small function each, from a seeded
generator to seconds.

A process makes its first request due at 0 and draws the gaps after it. Nothing is rescaled to end
at a chosen time: the last arrival of a Poisson process is as random as the others, and forcing it
to N / rate would hide the fluctuations that make queues. CV below is the coefficient of variation
of the gaps, standard deviation / mean: 0 for constant, 1 for Poisson.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .modulated import clock_until, steady
from .spec import (
    AtOnce,
    Constant,
    Gamma,
    Modulated,
    OnOff,
    Poisson,
)

Seconds = NDArray[np.float64]
# They end with the requests; a ramp ends by itself.
Endless = AtOnce | Constant | Poisson | Gamma | OnOff | Modulated


def from_zero(arrivals: Endless, num_requests: int, rng: np.random.Generator) -> Seconds:
    """The first request at 0."""
    match arrivals:
        case AtOnce():
            return np.zeros(num_requests)
        case Constant(rate_per_s=rate):
            return constant(num_requests, rate)
        case Poisson(rate_per_s=rate):
            return poisson(num_requests, rate, rng)
        case Gamma(rate_per_s=rate, cv=cv):
            return gamma(num_requests, rate, cv, rng)
        case OnOff(on_rate_per_s=rate, mean_on_s=on_s, mean_off_s=off_s):
            return on_off(num_requests, rate, on_s, off_s, rng)
        case Modulated():
            clock_rng, gap_rng = rng.spawn(2)
            times_s = from_zero(steady(arrivals), num_requests, gap_rng)
            return clock_until(arrivals, float(times_s[-1]), clock_rng).due(times_s)


def constant(num_requests: int, rate_per_s: float) -> Seconds:
    """i / rate: one multiplication each, so that no rounding builds up. CV 0."""
    return np.arange(num_requests) / rate_per_s


def poisson(num_requests: int, rate_per_s: float, rng: np.random.Generator) -> Seconds:
    """Exponential gaps of mean 1 / rate. CV 1."""
    return _after_first(rng.standard_exponential(num_requests - 1) / rate_per_s)


def gamma(num_requests: int, rate_per_s: float, cv: float, rng: np.random.Generator) -> Seconds:
    """Gamma gaps of shape 1 / cv^2 and mean 1 / rate."""
    shape = cv**-2
    return _after_first(rng.standard_gamma(shape, num_requests - 1) / (shape * rate_per_s))


def on_off(
    num_requests: int,
    on_rate_per_s: float,
    mean_on_s: float,
    mean_off_s: float,
    rng: np.random.Generator,
) -> Seconds:
    """Poisson arrivals while ON, silence while OFF, both periods exponential; begins ON.

    An interrupted Poisson process (Kuczura, Bell System Technical Journal 52(3), 1973). With
    r the ON rate, s = 1 / mean_on, m the mean silence, a gap B + (K silences), B ~ Exp(r) and
    K | B ~ Poisson(s B), has mean (1 + s m) / r and second moment
    2 / r^2 + 4 s m / r^2 + 2 s m^2 / r + 2 s^2 m^2 / r^2.
    """
    gap_rng, silence_rng, length_rng = rng.spawn(3)
    on_gaps_s = gap_rng.standard_exponential(num_requests - 1) / on_rate_per_s
    # More silences than these in a gap are more than numpy counts.
    silences = silence_rng.poisson(np.minimum(on_gaps_s / mean_on_s, 1e18))
    # The sum of K exponential silences is gamma distributed with shape K.
    silence_s = mean_off_s * length_rng.standard_gamma(silences)
    return _after_first(on_gaps_s + silence_s)


def _after_first(gaps_s: Seconds) -> Seconds:
    return np.concatenate(([0.0], np.cumsum(gaps_s)))
