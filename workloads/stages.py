"""Phases of a load, one after the other.

A stage of so many seconds begins in the midst of its process, as a stage of a load that has lasted
for long would: its first gap is the rest of one under way, so that it brings rate x duration
requests on average however bursty the gaps are (Cox, Renewal Theory, 1962, sections 2.3 and 4.2).
Begun at a request it would bring (cv^2 - 1) / 2 more, which is a lot of a short stage. A stage of
so many requests begins a whole gap before its first and ends at its last, so that its gaps have the
mean that was asked for. A constant stage sends at its start; one of so many requests ends a gap
after its last. A modulated stage begins with a period.
"""

from __future__ import annotations

import math

import numpy as np

from .api import WorkloadError
from .modulated import clock_for, steady
from .processes import Seconds, from_zero
from .ramps import expected_requests, ramp_times_s
from .spec import (
    AtOnce,
    Constant,
    ExponentialRamp,
    Gamma,
    LinearRamp,
    Modulated,
    OnOff,
    Poisson,
    Stage,
)
from .spec.bounds import MOST_REQUESTS


def stage_times_s(stages: tuple[Stage, ...], rng: np.random.Generator) -> Seconds:
    """Due times of all stages' requests. Raises WorkloadError: more than ten million in all."""
    begin_s, count = 0.0, 0
    found: list[Seconds] = []
    for number, (stage, own) in enumerate(zip(stages, rng.spawn(len(stages)), strict=True)):
        times_s, length_s = _one_stage(stage, number, own)
        count += len(times_s)
        _check_count(count, number)
        found.append(begin_s + times_s)
        begin_s += length_s
    return np.concatenate(found)


def _one_stage(stage: Stage, number: int, rng: np.random.Generator) -> tuple[Seconds, float]:
    """Due times from the stage's begin, and how long it lasts."""
    arrivals = stage.arrivals
    match arrivals:
        case LinearRamp() | ExponentialRamp():
            _check_count(expected_requests(arrivals), number)
            return ramp_times_s(arrivals, None, rng), arrivals.duration_s
        case AtOnce():
            return np.zeros(stage.requests or 0), 0.0
        case Constant(rate_per_s=rate):
            if stage.duration_s is None:
                count = stage.requests or 0
                return np.arange(count) / rate, count / rate
            _check_count(rate * stage.duration_s, number)
            times_s = np.arange(math.ceil(rate * stage.duration_s)) / rate
            return times_s[times_s < stage.duration_s], stage.duration_s
    if stage.duration_s is None:
        times_s = from_zero(arrivals, (stage.requests or 0) + 1, rng)[1:]
        return times_s, float(times_s[-1])
    if isinstance(arrivals, Modulated):
        clock_rng, gap_rng = rng.spawn(2)
        clock = clock_for(arrivals, stage.duration_s, clock_rng)
        shown_s = clock.shown(stage.duration_s)
        times_s = clock.due(_until(steady(arrivals), shown_s, number, gap_rng))
    else:
        times_s = _until(arrivals, stage.duration_s, number, rng)
    return times_s, stage.duration_s


def _until(
    arrivals: Poisson | Gamma | OnOff,
    duration_s: float,
    number: int,
    rng: np.random.Generator,
) -> Seconds:
    mean = _mean_rate_per_s(arrivals) * duration_s
    _check_count(mean, number)
    count = 64 + math.ceil(mean + 6 * math.sqrt(mean))
    seed = int(rng.integers(2**63))
    first_s = _rest_of_gap_s(arrivals, rng)
    while True:
        # Begun anew each time: a longer draw of a process begins like a shorter one.
        times_s = first_s + from_zero(arrivals, count, np.random.default_rng(seed))
        if times_s[-1] >= duration_s:
            return times_s[times_s < duration_s]
        _check_count(count, number)
        count *= 2


def _rest_of_gap_s(arrivals: Poisson | Gamma | OnOff, rng: np.random.Generator) -> float:
    """From a time that knows nothing of the arrivals to the next of them."""
    if isinstance(arrivals, Gamma):
        # A uniform share of a gap drawn in proportion to its length, as in `clients.py`.
        shape = arrivals.cv**-2
        return float(rng.random() * rng.standard_gamma(shape + 1) / (shape * arrivals.rate_per_s))
    # Exponential times have no memory: what is left of a silence is a silence, and while ON the
    # next request is a gap away.
    silence_s = 0.0
    if isinstance(arrivals, OnOff):
        share_off = arrivals.mean_off_s / (arrivals.mean_on_s + arrivals.mean_off_s)
        if rng.random() < share_off:
            silence_s = float(rng.standard_exponential()) * arrivals.mean_off_s
    return silence_s + float(from_zero(arrivals, 2, rng)[1])


def _mean_rate_per_s(arrivals: Poisson | Gamma | OnOff) -> float:
    if not isinstance(arrivals, OnOff):
        return arrivals.rate_per_s
    share_on = arrivals.mean_on_s / (arrivals.mean_on_s + arrivals.mean_off_s)
    return arrivals.on_rate_per_s * share_on


def _check_count(count: float, number: int) -> None:
    if count > MOST_REQUESTS:
        expected = f"at most {MOST_REQUESTS:,} in all stages: a lower rate, or less time"
        raise WorkloadError(
            f"arrivals.stages.{number}", None, expected, f"brings the requests to {count:,.4g}"
        )
