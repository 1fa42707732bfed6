"""Time per output token."""

from __future__ import annotations

from ..run.record import RequestRecord
from .base import RequestMetric


def came_at_once(request: RequestRecord) -> bool:
    """Whether a reply that showed more than one token came in one chunk of a stream: held back, so
    that its pace is not seen."""
    return request.shown_tokens > 1 and len(request.chunk_times_s) == 1


class TimePerOutputToken(RequestMetric):
    """(t_end - t_first) / (N - 1), N output tokens: the pace of a stream after its first token.

    Absent for N = 1: one token has no pace, and a zero would meet every SLO. Absent, too, where
    all tokens came in one chunk of a stream. Of a reply whose thoughts a server counted and did not
    send, N are the tokens that it sent: the others were made before t_first.
    Elsewhere: vLLM "TPOT" (absent for N = 1, too; 0 in its goodput alone); aiperf "inter token
    latency"; guidellm "ITL".
    """

    id = "tpot"
    unit = "s"
    better = "lower"

    def of(self, request: RequestRecord) -> float | None:
        if request.shown_tokens < 2 or came_at_once(request):
            return None
        first_s, end_s = request.token_times_s[0], request.token_times_s[-1]
        return (end_s - first_s) / (request.shown_tokens - 1)
