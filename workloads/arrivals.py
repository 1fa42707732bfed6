"""When requests are due, from a seeded generator to seconds: a file each for processes with one
rate, ramps, stages and clients."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .api import WorkloadError
from .clients import superposed_times_s
from .processes import Seconds, from_zero
from .ramps import ramp_times_s
from .spec import (
    Arrivals,
    Clients,
    ClosedLoop,
    Constant,
    ExponentialRamp,
    Gamma,
    LinearRamp,
    Modulated,
    OnOff,
    Poisson,
    Replay,
    Stages,
)
from .stages import stage_times_s


class NoRequestsError(WorkloadError):
    """Arrivals that bring no request with their seed."""


def due_times_s(
    arrivals: Arrivals,
    num_requests: int | None,
    rng: np.random.Generator,
    trace_s: Sequence[float] = (),
) -> Seconds | None:
    """[num_requests] seconds from the start, never decreasing; None in a closed loop.

    num_requests: None for all that a ramp or the stages bring; any other process needs a number.
    trace_s: for a replay, the times of the trace's first `num_requests` rows.
    Raises WorkloadError: more requests than there are, or none at all.
    """
    match arrivals:
        case ClosedLoop():
            return None
        case Replay(time_scale=time_scale):
            return replay(trace_s, time_scale)
        case LinearRamp() | ExponentialRamp():
            return _enough(ramp_times_s(arrivals, num_requests, rng), num_requests, arrivals)
        case Stages(stages=stages):
            return _enough(stage_times_s(stages, rng), num_requests, arrivals)
    assert num_requests is not None
    if isinstance(arrivals, Clients):
        return superposed_times_s(arrivals.clients, num_requests, rng)
    return from_zero(arrivals, num_requests, rng)


def _enough(
    due_s: Seconds, num_requests: int | None, arrivals: LinearRamp | ExponentialRamp | Stages
) -> Seconds:
    """The first `num_requests`, if there are as many."""
    reached = due_s[np.isfinite(due_s)]
    if num_requests is not None and len(reached) < num_requests:
        raise WorkloadError(
            "num_requests",
            num_requests,
            f"at most {len(reached)}, which the {arrivals.kind} arrivals bring with this seed",
            "is more than there are",
        )
    if not len(reached):
        raise NoRequestsError(
            "arrivals", arrivals.kind, "a higher rate or a longer time", "bring no request"
        )
    return reached[:num_requests]


def request_rate_per_s(arrivals: Arrivals) -> float | None:
    """The rate that the process is asked for; None when it has none of its own."""
    match arrivals:
        case (
            Constant(rate_per_s=rate)
            | Poisson(rate_per_s=rate)
            | Gamma(rate_per_s=rate)
            | Modulated(rate_per_s=rate)
        ):
            return rate
        case OnOff(on_rate_per_s=rate, mean_on_s=on_s, mean_off_s=off_s):
            return rate * on_s / (on_s + off_s)
        case Clients(clients=clients):
            return sum(one.rate_per_s for one in clients)
        case _:
            return None


def replay(trace_s: Sequence[float], time_scale: float) -> Seconds:
    """A trace's times from its first row on, every gap multiplied by `time_scale`."""
    times_s = np.asarray(trace_s, dtype=np.float64)
    return (times_s - times_s[0]) * time_scale
