"""The rate that a run was offered, for files that have one number for it."""

from __future__ import annotations

from ...workloads.scaled import arriving
from ..result import Result


def offered_rate_per_s(result: Result) -> float | None:
    """Requests a second: as asked for, else what the arrivals came to (a replayed trace, stages);
    None where requests were due at once or when a slot freed, and where sessions arrived: what
    their later turns come to depends on the replies that they waited for."""
    sent = result.workload.description
    if arriving(sent) == "sessions":
        return None
    for rate_per_s in (
        result.config.get("request_rate"),
        sent.get("request_rate_per_s"),
        sent.get("offered_rate_per_s"),
    ):
        if isinstance(rate_per_s, int | float):
            return float(rate_per_s)
    return None
