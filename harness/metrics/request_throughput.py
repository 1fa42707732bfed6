"""Completed requests a second."""

from __future__ import annotations

from ..run.record import RequestRecord, RequestStatus
from .base import Counted, RateMetric


class RequestThroughput(RateMetric):
    """Requests that ended well / duration; a request counts when its last token is ready.

    Each of several samples of one prompt counts as a request.
    Elsewhere: vLLM "request throughput", over the whole run.
    """

    id = "request_throughput"
    unit = "requests/s"

    def counted(self, request: RequestRecord) -> tuple[Counted, ...]:
        if request.status is not RequestStatus.OK or request.t_end_s is None:
            return ()
        return (Counted((request.t_end_s,)),)
