"""Time in the queue."""

from __future__ import annotations

from ..run.record import RequestRecord
from .base import RequestMetric


class QueueTime(RequestMetric):
    """t_scheduled - t_due: how long until a step first computed any of the request.

    Elsewhere: vLLM's server metric "request queue time" counts from the engine's arrival.
    """

    id = "queue"
    unit = "s"
    better = "lower"

    def of(self, request: RequestRecord) -> float | None:
        return None if request.t_scheduled_s is None else request.t_scheduled_s - request.t_due_s
