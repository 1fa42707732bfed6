"""End-to-end latency."""

from __future__ import annotations

from ..run.record import RequestRecord
from .base import RequestMetric


class EndToEndLatency(RequestMetric):
    """t_end - t_due: the whole of a request, from when it was due to its last token.

    Elsewhere: vLLM "E2EL" and aiperf "request latency" count from the send.
    """

    id = "e2el"
    unit = "s"
    better = "lower"

    def of(self, request: RequestRecord) -> float | None:
        return None if request.t_end_s is None else request.t_end_s - request.t_due_s
