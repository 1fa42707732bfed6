"""Normalised time per output token."""

from __future__ import annotations

from ..run.record import RequestRecord
from .base import RequestMetric


class NormalisedTimePerOutputToken(RequestMetric):
    """(t_end - t_due) / N, N output tokens: the whole latency spread over the reply.

    Elsewhere: "normalized latency" in the Orca and PagedAttention papers; guidellm "TPOT".
    """

    id = "ntpot"
    unit = "s"
    better = "lower"

    def of(self, request: RequestRecord) -> float | None:
        if request.t_end_s is None:
            return None
        return (request.t_end_s - request.t_due_s) / request.output_tokens
