"""The steady window: the part of a run whose throughput is the engine's, not the ramp's.

A closed loop starts with an empty engine and ends by draining it; both dilute a rate over the
whole run, and the shorter the run the more.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...reports.format import number
from ..metrics.base import Interval
from ..result import Window
from ..stats.level import LevelChange, level_change
from ..stats.mser import BATCH, batch_means, mser5
from .record import RequestRecord, RequestStatus, counted_as

BINS = 200
FEWEST_ENDED = 10
# In steady state as many requests end as come. Where fewer end, a rate of what has ended is too low
# by as much.
MOST_UNBALANCED = 0.1
# A change of level that is sure, and no more than this share of the mean, is of no consequence: a
# simulated loop repeats itself so well that a thousandth shows.
MOST_CHANGED = 0.1


def steady_window(requests: Sequence[RequestRecord], duration_s: float) -> Window:
    """From the end of warm-up, by MSER-5, to the last arrival.

    Output tokens are counted in 200 equal bins from the start to the time the last request was
    due: after it nothing replaces a request that ends, so concurrency drains. MSER-5
    (`stats/mser.py`) drops the leading bins that are not like the rest. The whole run, and
    `method` says why, if no token comes, nothing is due after the start, no steady state shows,
    fewer than 10 requests end in the window, or those that end in it are not as many as those that
    are due in it, within a tenth (job flow balance: Denning and Buzen, "The operational analysis of
    queueing network models", Computing Surveys 10, 1978). Tokens can be as even as in steady state
    while requests pile up: their queue, and not their rate, is what a load beyond capacity makes
    grow. And the whole run if the rate of tokens changes within the window by more than a tenth,
    little by little or at once (`stats/level.py`): MSER-5 sees no change that comes late, and in a
    closed loop as many end as are due whatever happens to the engine.
    """
    if not any(request.token_times_s for request in requests):
        return _whole(duration_s, "no request was served")
    last_due_s = max((request.t_due_s for request in requests), default=0.0)
    end_s = min(last_due_s, duration_s)
    if end_s <= 0:
        return _whole(duration_s, "every request was due at the start")
    tokens = binned_tokens(requests, Interval(0.0, end_s), BINS)
    cut_bins = mser5(tokens)
    if cut_bins is None:
        return _whole(duration_s, "MSER-5 saw no steady state before the last arrival")
    start_s = cut_bins * end_s / BINS
    counted = counted_as(requests)
    ended = _ended(requests, Interval(start_s, end_s))
    if ended < FEWEST_ENDED:
        return _whole(
            duration_s,
            f"fewer than {FEWEST_ENDED} {counted} ended between warm-up and the last arrival",
        )
    due = sum(start_s < request.t_due_s <= end_s for request in requests)
    if abs(due - ended) > MOST_UNBALANCED * due:
        fewer = _fewer(requests, Interval(start_s, end_s), due, ended)
        return _whole(
            duration_s,
            f"{due} {counted} were due between warm-up and the last arrival, but "
            + (fewer if ended < due else f"{ended} ended"),
        )
    if changed := changed_rate(tokens[cut_bins:], Interval(start_s, end_s)):
        return _whole(duration_s, f"output went {changed}")
    return Window(
        start_s=start_s,
        end_s=end_s,
        method=f"MSER-5 over {BINS} bins of output tokens (batches of {BATCH}) dropped the first "
        f"{start_s:.2f} s, and the rest keeps its level; ends at the last arrival",
    )


def _fewer(requests: Sequence[RequestRecord], interval: Interval, due: int, ended: int) -> str:
    """How many ended of more that were due, and why: what was not served, if it is most of it."""
    lost = sum(
        request.status in (RequestStatus.FAILED, RequestStatus.REFUSED)
        and interval.start_s < request.t_due_s <= interval.end_s
        for request in requests
    )
    text = f"only {ended} ended{f' and {lost} were not served' if lost else ''}"
    return text if 2 * lost > due - ended else text + piled_up(requests, interval)


def piled_up(requests: Sequence[RequestRecord], interval: Interval) -> str:
    """What became of requests that were due and did not end within the interval: a queue, or a
    batch that still filled. Whichever grew more explains it; of a server that tells nobody when it
    began a request, neither is said."""
    at_start, at_end = (_in_flight(requests, at_s) for at_s in (interval.start_s, interval.end_s))
    flying = f"{len(at_end)} in flight at the last arrival"
    if any(request.t_scheduled_s is None and request.token_times_s for request in requests):
        return f": {flying}, in service or waiting"
    waiting = _waiting(at_end, interval.end_s)
    queued = waiting - _waiting(at_start, interval.start_s)
    if 2 * queued > len(at_end) - len(at_start):
        return f", so a queue grew: {waiting} waiting at the last arrival"
    return f": the batch was still filling, with {flying} (raise --num-requests)"


def _in_flight(requests: Sequence[RequestRecord], at_s: float) -> list[RequestRecord]:
    return [
        request
        for request in requests
        if request.status in (RequestStatus.OK, RequestStatus.UNFINISHED)
        and request.t_due_s <= at_s
        and (request.t_end_s is None or request.t_end_s > at_s)
    ]


def _waiting(in_flight: Sequence[RequestRecord], at_s: float) -> int:
    """How many of them no step had touched."""
    return sum(one.t_scheduled_s is None or one.t_scheduled_s > at_s for one in in_flight)


def changed_load(requests: Sequence[RequestRecord]) -> str:
    """How the tokens that were asked for, by the time they were due, changed over an open loop, by
    the test of the window; empty if they kept their level. Output that follows such a load is not
    the system's doing."""
    end_s = max((request.t_due_s for request in requests), default=0.0)
    if end_s <= 0:
        return ""
    tokens, _ = np.histogram(
        [request.t_due_s for request in requests],
        bins=BINS,
        range=(0.0, end_s),
        weights=[request.output_tokens for request in requests],
    )
    return changed_rate(tokens.tolist(), Interval(0.0, end_s))


def changed_rate(tokens: Sequence[float], interval: Interval) -> str:
    """From what rate to what other one these equal bins of the interval went, and when; empty if
    they kept their level, or a tenth more or less."""
    means = batch_means(tokens)
    change = level_change(means.tolist())
    if change is None or abs(change.after - change.before) <= MOST_CHANGED * means.mean():
        return ""
    return _told(change, len(tokens), interval)


def _told(change: LevelChange, bins: int, interval: Interval) -> str:
    bin_s = interval.duration_s / bins
    before, after = (
        # The line through a rate that falls to nothing ends below it.
        number(max(0.0, mean) / bin_s)
        for mean in (change.before, change.after)
    )
    if change.gradual:
        return f"little by little from about {before} to {after} tokens/s"
    at_s = interval.start_s + change.index * BATCH * bin_s
    return f"from {before} to {after} tokens/s at {at_s:.2f} s"


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
