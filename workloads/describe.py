"""What is said of a plan: the settings it was made from, and what came of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .api import PlannedRequest
from .arrivals import request_rate_per_s
from .lengths import Tokens
from .processes import Seconds
from .spec import WorkloadSpec


def describe(
    spec: WorkloadSpec, seed: int, due_s: Seconds | None, requests: Sequence[PlannedRequest]
) -> dict[str, object]:
    """What `Plan.description` documents."""
    inputs = np.array([len(one.prompt_token_ids) for one in requests], dtype=np.int64)
    outputs = np.array([one.output_tokens for one in requests], dtype=np.int64)
    return {
        **spec.model_dump(mode="json", exclude={"adjustments", "num_requests"}),
        "seed": seed,
        "num_requests": len(requests),
        "num_sessions": sum(one.after is None for one in requests),
        **_arrivals(spec, due_s, sessions=any(one.after is not None for one in requests)),
        "input_tokens": _summary(inputs),
        "output_tokens": _summary(outputs),
    }


def _arrivals(
    spec: WorkloadSpec, due_s: Seconds | None, *, sessions: bool
) -> dict[str, float | None]:
    """The rate asked for, and the rate and the CV of these very gaps; None where nothing is due
    after the start. Where sessions arrive, both are theirs, and of requests nothing is known
    before: later turns wait for replies."""
    asked = request_rate_per_s(spec.arrivals)
    offered = gap_cv = None
    if due_s is not None and len(due_s) > 1 and due_s[-1] > due_s[0]:
        gaps_s = np.diff(due_s)
        offered, gap_cv = float(1 / gaps_s.mean()), float(gaps_s.std() / gaps_s.mean())
    return {
        "request_rate_per_s": None if sessions else asked,
        "offered_rate_per_s": None if sessions else offered,
        "session_rate_per_s": asked if sessions else None,
        "offered_session_rate_per_s": offered if sessions else None,
        "gap_cv": gap_cv,
    }


def _summary(tokens: Tokens) -> dict[str, float]:
    """Percentiles interpolate linearly between neighbours."""
    p50, p90, p99 = np.percentile(tokens, (50, 90, 99)).tolist()
    return {
        "mean": float(tokens.mean()),
        "p50": p50,
        "p90": p90,
        "p99": p99,
        "min": int(tokens.min()),
        "max": int(tokens.max()),
    }
