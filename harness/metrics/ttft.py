"""Time to first token."""

from __future__ import annotations

from ..run.record import RequestRecord
from .base import RequestMetric


class TimeToFirstToken(RequestMetric):
    """t_first - t_due: what a user waits before anything appears, queueing included.

    From the time the request was due, so a client or an engine that falls behind cannot hide it.
    Elsewhere: vLLM "TTFT" and aiperf "time to first token" count from the send: see `ttft_send`.
    """

    id = "ttft"
    unit = "s"
    better = "lower"

    def of(self, request: RequestRecord) -> float | None:
        return None if request.t_first_s is None else request.t_first_s - request.t_due_s
