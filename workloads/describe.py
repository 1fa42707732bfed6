"""What is said of a plan: the settings it was made from, and what came of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .api import PlannedRequest
from .arrivals import Seconds, request_rate_per_s
from .lengths import Tokens
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
        "request_rate_per_s": request_rate_per_s(spec.arrivals),
        **_observed_arrivals(due_s),
        "input_tokens": _summary(inputs),
        "output_tokens": _summary(outputs),
    }


def _observed_arrivals(due_s: Seconds | None) -> dict[str, float | None]:
    """The rate and the CV of these very gaps; None where nothing is due after the start."""
    if due_s is None or len(due_s) < 2 or due_s[-1] == due_s[0]:
        return {"offered_rate_per_s": None, "gap_cv": None}
    gaps_s = np.diff(due_s)
    return {
        "offered_rate_per_s": float(1 / gaps_s.mean()),
        "gap_cv": float(gaps_s.std() / gaps_s.mean()),
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
