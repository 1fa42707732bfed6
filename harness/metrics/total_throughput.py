"""Input and output tokens a second."""

from __future__ import annotations

from ..run.record import RequestRecord
from .base import Counted, RateMetric


class TotalThroughput(RateMetric):
    """(input + output tokens) / duration; a prompt counts whole, when its first token is ready.

    A prompt that several samples share counts once. Recomputed tokens count once: they are a cost
    of serving, nothing that was asked for.
    Elsewhere: vLLM "total token throughput", over the whole run.
    """

    id = "total_throughput"
    unit = "tokens/s"

    def counted(self, request: RequestRecord) -> tuple[Counted, ...]:
        if request.t_first_s is None:
            return ()
        output = Counted(request.token_times_s)
        if request.sample:
            return (output,)
        return (Counted((request.t_first_s,), request.input_tokens), output)
