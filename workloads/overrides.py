"""What a command line changes in a workload, whatever the workload is."""

from __future__ import annotations

import math
from typing import Any, Literal

from .api import WorkloadError
from .arrivals import request_rate_per_s
from .load import parse_spec
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
    WorkloadSpec,
)


def with_overrides(
    spec: WorkloadSpec,
    *,
    num_requests: int | None = None,
    request_rate: float | None = None,
    max_concurrency: int | None = None,
    arrival: Literal["poisson", "constant", "own"] | None = None,
    time_scale: float | None = None,
    samples: int | None = None,
    shared_prefix_tokens: int | None = None,
) -> WorkloadSpec:
    """The spec with what was given in place of its own. None leaves a thing as it is.

    num_requests: of a trace, its first rows.
    request_rate: arrivals a second, of sessions where there are any, else of requests. A constant
        or gamma workload keeps its kind, clients are all scaled alike, any other becomes Poisson;
        `arrival` chooses. inf: everything is due at 0.
    max_concurrency: on its own, a closed loop of this many; beside request_rate, arrival or
        time_scale, a cap on what is in flight: due times stay, so waiting for a slot counts as
        latency.
    arrival: the kind for request_rate, or for the workload's own rate. own: only beside
        request_rate; arrivals that have a rate stay what they are. Of those that no single setting
        sets to a rate (`is_scaled_when_planned`) nothing is changed here: `scaled.at_rate` scales
        their gaps once they are drawn.
    time_scale: of a replay, the factor on every gap: 0.5 is twice as fast.
    samples: replies asked for each prompt. shared_prefix_tokens: tokens all prompts begin with.

    A change of the arrival process is put in words in `adjustments`.
    """
    changed: dict[str, Any] = {}
    if num_requests is not None:
        changed["num_requests"] = num_requests
    if samples is not None:
        changed["samples"] = samples
    if shared_prefix_tokens is not None:
        changed["prompts"] = {
            **spec.prompts.model_dump(),
            "shared_prefix_tokens": shared_prefix_tokens,
        }
    arrivals = _arrivals(spec, request_rate, max_concurrency, arrival, time_scale)
    if arrivals is not None:
        changed["arrivals"] = arrivals
        if arrivals["kind"] != spec.arrivals.kind:
            note = f"arrivals are {arrivals['kind']}, not the workload's own {spec.arrivals.kind}"
            changed["adjustments"] = (*spec.adjustments, note)
    return parse_spec({**spec.model_dump(), **changed})


def _arrivals(
    spec: WorkloadSpec,
    request_rate: float | None,
    max_concurrency: int | None,
    arrival: str | None,
    time_scale: float | None,
) -> dict[str, Any] | None:
    """The arrivals to put in place, as in a workload file; None: keep what is there."""
    own = spec.arrivals
    own_cap = None if isinstance(own, ClosedLoop) else own.max_concurrency
    cap = own_cap if max_concurrency is None else max_concurrency
    if time_scale is not None:
        if not isinstance(own, Replay) or request_rate is not None or arrival is not None:
            raise WorkloadError("time_scale", time_scale, "a replayed trace at its own rate")
        return {**own.model_dump(), "time_scale": time_scale, "max_concurrency": cap}
    if arrival == "own":
        if request_rate is None:
            raise WorkloadError("arrival", arrival, "--request-rate beside it", "is no rate")
        if not request_rate > 0:
            raise _no_rate(request_rate)
        if is_scaled_when_planned(own):
            return {**own.model_dump(), "max_concurrency": cap}
        arrival = None
    if request_rate is not None or arrival is not None:
        return {**_at_rate(spec, request_rate, arrival), "max_concurrency": cap}
    if max_concurrency is not None:
        return {"kind": "closed_loop", "max_concurrency": max_concurrency}
    return None


def _at_rate(spec: WorkloadSpec, request_rate: float | None, arrival: str | None) -> dict[str, Any]:
    own = spec.arrivals
    has_rate = isinstance(own, Poisson | Constant | Gamma)
    rate_per_s = request_rate_per_s(own) if request_rate is None else request_rate
    if rate_per_s is None:
        raise WorkloadError(
            "arrival",
            arrival,
            "--request-rate beside it",
            f"needs a rate, and {own.kind} arrivals have no single one",
        )
    if not rate_per_s > 0:
        raise _no_rate(rate_per_s)
    if rate_per_s == math.inf:
        return {"kind": "at_once"}
    if arrival is not None:
        return {"kind": arrival, "rate_per_s": rate_per_s}
    if isinstance(own, Clients):
        return scaled_clients(own, rate_per_s)
    kept = own.model_dump() if has_rate else {"kind": "poisson"}
    return {**kept, "rate_per_s": rate_per_s}


def is_scaled_when_planned(own: Arrivals) -> bool:
    """Whether arrivals have a rate, by what was drawn or recorded, that no setting of theirs is."""
    return isinstance(own, OnOff | Modulated | LinearRamp | ExponentialRamp | Stages | Replay)


def _no_rate(request_rate: float) -> WorkloadError:
    return WorkloadError("request_rate", request_rate, "a number above 0, or inf")


def scaled_clients(own: Clients, rate_per_s: float) -> dict[str, Any]:
    """The same clients, their rates multiplied by one factor, to `rate_per_s` in all."""
    factor = rate_per_s / sum(one.rate_per_s for one in own.clients)
    clients = [
        {**one.model_dump(), "rate_per_s": float(f"{one.rate_per_s * factor:.6g}")}
        for one in own.clients
    ]
    return {**own.model_dump(), "clients": clients}
