"""Time to first token as other tools count it."""

from __future__ import annotations

from ..run.record import RequestRecord
from .base import RequestMetric


class TimeToFirstTokenFromSend(RequestMetric):
    """t_first - t_send: the engine's share of `ttft`, kept to compare with other tools' numbers.

    Elsewhere: vLLM "TTFT"; aiperf "time to first token"; guidellm "TTFT".
    """

    id = "ttft_send"
    unit = "s"
    better = "lower"

    def of(self, request: RequestRecord) -> float | None:
        return None if request.t_first_s is None else request.t_first_s - request.t_send_s
