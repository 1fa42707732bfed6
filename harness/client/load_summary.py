"""How busy the processes of a client were, together."""

from __future__ import annotations

from collections.abc import Sequence

from ..result import ClientLoad
from ..stats.percentiles import percentile
from .load import Busyness
from .processes import SentByAll

FEWEST_BEATS = 100


def in_flight_s(busy: Sequence[Busyness]) -> float | None:
    """Requests on their way, as counted at each heartbeat, times seconds."""
    if min(len(one.lags_s) for one in busy) < FEWEST_BEATS:
        return None
    return sum(one.in_flight_s for one in busy)


def client_load(found: SentByAll) -> ClientLoad:
    """How busy the client was; of several processes, the worst."""
    busy, records = found.busy, found.sent.records
    lags_s = [one.t_send_s - one.t_due_s for one in records]
    return ClientLoad(
        processes=len(busy),
        connections=found.sent.connections,
        loop_lag_p50_s=max(one.lag_s(50) for one in busy),
        loop_lag_p99_s=max(one.lag_s(99) for one in busy),
        loop_lag_max_s=max(one.lag_s(100) for one in busy),
        cpu_share=max(one.cpu_share for one in busy),
        send_lag_p99_s=percentile(lags_s, 99) if lags_s else 0.0,
    )
