"""The steady window: the part of a run whose throughput is the engine's, not the ramp's.

A closed loop starts with an empty engine and ends by draining it; both dilute a rate over the
whole run, and the shorter the run the more.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .metrics.base import Interval
from .record import RequestRecord, RequestStatus
from .result import Window
from .stats.mser import BATCH, mser5

BINS = 200
FEWEST_ENDED = 10
# In steady state as many requests end as come. Where fewer end, a rate of what has ended is too low
# by as much.
MOST_UNBALANCED = 0.1


def steady_window(requests: Sequence[RequestRecord], duration_s: float) -> Window:
    """From the end of warm-up, by MSER-5, to the last arrival.

    Output tokens are counted in 200 equal bins from the start to the time the last request was
    due: after it nothing replaces a request that ends, so concurrency drains. MSER-5
    (`stats/mser.py`) drops the leading bins that are not like the rest. The whole run, and
    `method` says why, if nothing is due after the start, no steady state shows, fewer than 10
    requests end in the window, or those that end in it are not as many as those that are due in it,
    within a tenth (job flow balance: Denning and Buzen, "The operational analysis of queueing
    network models", Computing Surveys 10, 1978). Tokens can be as even as in steady state while
    requests pile up: their queue, and not their rate, is what a load beyond capacity makes grow.
    """
    last_due_s = max((request.t_due_s for request in requests), default=0.0)
    end_s = min(last_due_s, duration_s)
    if end_s <= 0:
        return _whole(duration_s, "every request was due at the start")
    cut_bins = mser5(binned_tokens(requests, Interval(0.0, end_s), BINS))
    if cut_bins is None:
        return _whole(duration_s, "MSER-5 saw no steady state before the last arrival")
    start_s = cut_bins * end_s / BINS
    ended = _ended(requests, Interval(start_s, end_s))
    if ended < FEWEST_ENDED:
        return _whole(
            duration_s,
            f"fewer than {FEWEST_ENDED} requests ended between warm-up and the last arrival",
        )
    due = sum(start_s < request.t_due_s <= end_s for request in requests)
    if abs(due - ended) > MOST_UNBALANCED * due:
        queue = f"only {ended} ended, so a queue grew" if ended < due else f"{ended} ended"
        return _whole(
            duration_s, f"{due} requests were due between warm-up and the last arrival, but {queue}"
        )
    return Window(
        start_s=start_s,
        end_s=end_s,
        method=f"MSER-5 over {BINS} bins of output tokens (batches of {BATCH}) dropped the first "
        f"{start_s:.2f} s; ends at the last arrival",
    )


def binned_tokens(requests: Sequence[RequestRecord], interval: Interval, bins: int) -> list[float]:
    """Output tokens that became ready in each of `bins` equal parts of the interval."""
    times_s = [time_s for request in requests for time_s in request.token_times_s]
    counts, _ = np.histogram(times_s, bins=bins, range=(interval.start_s, interval.end_s))
    return counts.astype(np.float64).tolist()


def _ended(requests: Sequence[RequestRecord], interval: Interval) -> int:
    return sum(
        request.status is RequestStatus.OK and request.t_end_s in interval for request in requests
    )


def _whole(duration_s: float, why: str) -> Window:
    return Window(start_s=0.0, end_s=duration_s, method=f"the whole run, since {why}", steady=False)
