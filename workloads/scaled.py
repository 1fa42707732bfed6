"""The same requests at another rate, or behind a cap: prompts, lengths and order stay; only the
gaps change, or nothing does.

What arrives at a rate is requests or, where later turns wait for replies, sessions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from .api import Plan, WorkloadError

Arriving = Literal["requests", "sessions"]
# How a note on scaled gaps begins.
GAPS_MULTIPLIED = "every gap multiplied by"
# What a description says of arrivals a second.
_RATES = (
    *("request_rate_per_s", "session_rate_per_s"),
    *("offered_rate_per_s", "offered_session_rate_per_s"),
)


def arrival_rate_per_s(plan: Plan) -> float:
    """The rate of what arrives that a plan was asked for or, of a trace, that its due times come
    to.

    Raises WorkloadError where there is none: a closed loop, or everything due at once.
    """
    for name in _RATES:
        rate = plan.description.get(name)
        if isinstance(rate, int | float):
            return float(rate)
    raise WorkloadError("workload", None, "arrivals that have a rate, and two requests or more")


def requests_per_session(description: Mapping[str, Any]) -> float | None:
    """How many requests an arrival brings, as a plan or a stored run describes it; None where
    requests arrive by themselves."""
    requests, sessions = description.get("num_requests"), description.get("num_sessions")
    if not requests or not sessions or requests == sessions:
        return None
    return float(requests) / float(sessions)


def arriving(description: Mapping[str, Any]) -> Arriving:
    """What a rate of this load counts."""
    return "requests" if requests_per_session(description) is None else "sessions"


def at_rate(plan: Plan, rate_per_s: float) -> Plan:
    """The plan with every gap between arrivals multiplied by the same factor; inf: everything is
    due at 0.

    rate_per_s: of what arrives, in place of `arrival_rate_per_s(plan)`.
    """
    if not rate_per_s > 0:
        raise WorkloadError("request_rate", rate_per_s, "a number above 0, or inf")
    factor = arrival_rate_per_s(plan) / rate_per_s
    requests = tuple(
        replace(request, t_due_s=None if request.t_due_s is None else request.t_due_s * factor)
        for request in plan.requests
    )
    note = f"{GAPS_MULTIPLIED} {factor:.4g}, for {rate_per_s:.4g} {arriving(plan.description)}/s"
    return replace(
        plan,
        requests=requests,
        adjustments=(*plan.adjustments, note),
        description=_described(plan.description, factor),
    )


def behind_cap(plan: Plan, max_concurrency: int | None) -> Plan:
    """The same requests at the same times, with a cap of so many in front of the engine."""
    arrivals = plan.description["arrivals"]
    assert isinstance(arrivals, dict)
    described = {**plan.description, "arrivals": {**arrivals, "max_concurrency": max_concurrency}}
    return replace(plan, max_concurrency=max_concurrency, description=described)


def _described(description: Mapping[str, Any], factor: float) -> dict[str, object]:
    """What is said of the plan, with its rates as they are now; None, as ever, for no rate."""
    changed = dict(description)
    for name in _RATES:
        rate = description.get(name)
        if rate is not None:
            changed[name] = rate / factor if factor else None
    return {**changed, "gaps_multiplied_by": factor}
