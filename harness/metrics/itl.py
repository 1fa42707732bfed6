"""Inter-token latency."""

from __future__ import annotations

from operator import sub

from ..run.record import ONLY_IN_SUM, RequestRecord
from .base import TokenMetric
from .tpot import came_at_once


class InterTokenLatency(TokenMetric):
    """t_i - t_(i-1), one sample for each token after the first: shows the stalls `tpot` averages.

    Tokens that a server sends in one chunk come at once, with gaps of 0. Absent where only the sum
    of a reply's tokens is known: chunks are not tokens, and `icl` is then all there is. Absent,
    too, where a reply came in one chunk, as `tpot` is.
    Elsewhere: vLLM "ITL" is the gap between stream chunks, the same only if a chunk is one token;
    aiperf calls that gap "inter chunk latency", and `tpot` "inter token latency".
    """

    id = "itl"
    unit = "s"
    better = "lower"

    def of(self, request: RequestRecord) -> tuple[float, ...]:
        if request.counted in ONLY_IN_SUM or came_at_once(request):
            return ()
        times_s = request.token_times_s
        return tuple(map(sub, times_s[1:], times_s))
