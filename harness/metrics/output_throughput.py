"""Output tokens a second."""

from __future__ import annotations

from ..run.record import RequestRecord
from .base import Counted, RateMetric


class OutputThroughput(RateMetric):
    """Output tokens / duration; a token counts when it is ready, whatever became of its request.

    Elsewhere: vLLM "output token throughput" counts completed requests over the whole run, so the
    drain at the end lowers it; that is `run` here, and `window` is the steady window.
    """

    id = "output_throughput"
    unit = "tokens/s"

    def counted(self, request: RequestRecord) -> tuple[Counted, ...]:
        return (Counted(request.token_times_s),)
