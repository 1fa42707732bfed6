"""Inter-chunk latency."""

from __future__ import annotations

from operator import sub

from ..run.record import RequestRecord
from .base import TokenMetric


class InterChunkLatency(TokenMetric):
    """The gap between two chunks of a stream, one sample for each chunk after the first.

    A chunk may hold several tokens, so this is `itl` only where each holds one. Only chunks with a
    token count: one that names a role, or keeps the connection alive, is none. Absent in process,
    where nothing is chunked.
    Elsewhere: vLLM "ITL"; aiperf "inter chunk latency".
    """

    id = "icl"
    unit = "s"
    better = "lower"

    def of(self, request: RequestRecord) -> tuple[float, ...]:
        times_s = request.chunk_times_s
        return tuple(map(sub, times_s[1:], times_s))
