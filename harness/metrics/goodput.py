"""Requests a second that met every SLO, and their share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from ..run.record import RequestRecord, RequestStatus
from .base import Better, Counted, Metric, RateMetric, RequestMetric
from .e2el import EndToEndLatency
from .ntpot import NormalisedTimePerOutputToken
from .queue import QueueTime
from .tpot import TimePerOutputToken, came_at_once
from .ttft import TimeToFirstToken
from .ttft_send import TimeToFirstTokenFromSend

SLO_METRICS: dict[str, RequestMetric] = {
    metric.id: metric
    for metric in (
        TimeToFirstToken(),
        TimeToFirstTokenFromSend(),
        TimePerOutputToken(),
        NormalisedTimePerOutputToken(),
        EndToEndLatency(),
        QueueTime(),
    )
}


def meets(request: RequestRecord, slo: Mapping[str, float]) -> bool | None:
    """Whether a request kept every limit; None if it cannot be judged.

    slo: the most seconds allowed, by metric id (one of `SLO_METRICS`).
    A one-token reply has no `tpot` and is judged on the other limits; if there are no others, or
    the run was cut short before it ended, it is not judged. Neither is a reply of which nobody saw
    what another limit asks about, such as when a server took it out of its queue. One that was
    refused failed. One of more tokens that came in one chunk keeps no limit on `tpot`: nobody saw
    that it came at that pace, and a server that holds replies back would keep any.
    """
    if request.status is RequestStatus.UNFINISHED:
        return None
    if request.status is not RequestStatus.OK:
        return False
    if TimePerOutputToken.id in slo and came_at_once(request):
        return False
    values = {name: SLO_METRICS[name].of(request) for name in slo}
    judged = {name: value for name, value in values.items() if value is not None}
    if not judged or values.keys() - judged.keys() - {TimePerOutputToken.id}:
        return None
    return all(value <= slo[name] for name, value in judged.items())


@dataclass(frozen=True)
class Goodput(RateMetric):
    """Requests whose every SLO holds / duration; a request counts when its last token is ready.

    Elsewhere: vLLM "request goodput", which counts a one-token reply as TPOT 0; DistServe (OSDI
    2024) calls goodput the highest *rate* at which a share of requests meets the SLO.
    """

    slo: Mapping[str, float]

    id: ClassVar[str] = "goodput"
    unit: ClassVar[str] = "requests/s"

    def counted(self, request: RequestRecord) -> tuple[Counted, ...]:
        if request.t_end_s is None or not meets(request, self.slo):
            return ()
        return (Counted((request.t_end_s,)),)


@dataclass(frozen=True)
class GoodputShare(Metric):
    """Requests whose every SLO holds / requests that were judged.

    Elsewhere: "SLO attainment" (DistServe, OSDI 2024).
    """

    slo: Mapping[str, float]

    id: ClassVar[str] = "goodput_share"
    unit: ClassVar[str] = "share"
    better: ClassVar[Better] = "higher"

    def of(self, requests: Sequence[RequestRecord]) -> float | None:
        """The share over the whole run; None if no request was judged."""
        judged = [
            kept for kept in (meets(request, self.slo) for request in requests) if kept is not None
        ]
        return sum(judged) / len(judged) if judged else None
