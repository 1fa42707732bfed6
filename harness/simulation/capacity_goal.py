"""What a capacity must hold, and how far requests did: each limit by itself, and all together."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..metrics.goodput import SLO_METRICS, meets
from ..run.record import RequestRecord, RequestStatus


@dataclass(frozen=True)
class CapacityGoal:
    """What must hold: `attainment`, a share of the requests, keep every limit of `slo_s` (seconds
    by metric). rate_tolerance: how finely the rate is asked for."""

    slo_s: Mapping[str, float]
    attainment: float = 0.99
    rate_tolerance: float = 0.02


@dataclass(frozen=True)
class Limit:
    """One limit at one rate. kept: share of the requests that kept it, refused ones included.
    reached_s: what `attainment` of the served requests stayed within; NaN where none is judged."""

    metric: str
    limit_s: float
    kept: float
    reached_s: float


def kept_by(records: Sequence[RequestRecord], goal: CapacityGoal) -> tuple[bool | None, ...]:
    """Whether each request kept the SLO, in the order of the plan; None where that cannot be
    judged."""
    in_order = sorted(records, key=lambda one: (one.index, one.sample))
    return tuple(meets(one, goal.slo_s) for one in in_order)


def limits_of(records: Sequence[RequestRecord], goal: CapacityGoal) -> tuple[Limit, ...]:
    """Each limit by itself, the one that the fewest requests kept first."""
    found = [
        Limit(metric, limit_s, *_kept(records, metric, limit_s, goal.attainment))
        for metric, limit_s in goal.slo_s.items()
    ]
    return tuple(sorted(found, key=lambda limit: limit.kept))


def _kept(
    records: Sequence[RequestRecord], metric: str, limit_s: float, attainment: float
) -> tuple[float, float]:
    """The share of requests that kept a limit, and what the best `attainment` of those served
    stayed within: the smallest value that this share does not exceed."""
    served = (one for one in records if one.status is RequestStatus.OK)
    values = sorted(value for one in served if (value := SLO_METRICS[metric].of(one)) is not None)
    judged = len(values) + sum(map(was_refused, records))
    share = sum(value <= limit_s for value in values) / judged if judged else 1.0
    # As shares are held against it: a product would round 35 % of 200 to more than 70.
    at = bisect_left(range(1, len(values) + 1), attainment, key=lambda rank: rank / len(values))
    return share, values[at] if values else math.nan


def was_refused(record: RequestRecord) -> bool:
    """Neither served nor cut off by the end of the run."""
    return record.status not in (RequestStatus.OK, RequestStatus.UNFINISHED)
