"""The latencies of a run with their parts: TTFT and the stream of each request, and slow gaps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..run.record import RequestRecord, RequestStatus
from .layout import Floats
from .partition import Intervals, Ints, partition
from .timeline import Timeline

# A gap is slow if it is longer than so many times the run's median gap.
SLOW_FACTOR = 2.0


@dataclass(frozen=True)
class Latencies:
    """Intervals and where each of them went. parts: [n, 7] seconds of each of `PARTS`."""

    intervals: Intervals
    parts: Floats

    def __len__(self) -> int:
        return len(self.intervals)

    @property
    def length_s(self) -> Floats:
        return self.intervals.length_s

    def __getitem__(self, chosen: Ints) -> Latencies:
        return Latencies(self.intervals[chosen], self.parts[chosen])


@dataclass(frozen=True)
class Attributed:
    """What was measured of the requests that were served, split into parts.

    records: all of the run's; intervals name a request by its position here. ttft: one a request.
    streams: from the first token to the last, one a request that has two; gaps: how many token gaps
    are in each. slow: the slow gaps, and slow_tokens the number of the token each ends with.
    slow_token_s: where slow begins, None without gaps. longest: the longest hundredth of all gaps.
    """

    records: Sequence[RequestRecord]
    ttft: Latencies
    streams: Latencies
    gaps: Ints
    slow: Latencies
    slow_tokens: Ints
    slow_token_s: float | None
    longest: Latencies

    def slow_of(self, position: int) -> Attributed:
        """With the slow gaps of one request only. position: of its record."""
        chosen = np.flatnonzero(self.slow.intervals.request == position)
        return replace(self, slow=self.slow[chosen], slow_tokens=self.slow_tokens[chosen])


def is_served(record: RequestRecord) -> bool:
    """Whether its latencies count."""
    return record.status is RequestStatus.OK and record.output_tokens > 0


def attribute(records: Sequence[RequestRecord], timeline: Timeline) -> Attributed:
    """Split the latencies of the requests that were served.

    records: in the order of the ids that `timeline` was made for. A gap between two tokens is slow
    if it is longer than twice the run's median gap: what most gaps are is a run's own pace, and a
    percentile would call one in a hundred slow in a run without any stall.
    """
    served = [position for position, record in enumerate(records) if is_served(record)]
    counts = np.array([records[at].output_tokens for at in served], dtype=np.int64)
    times_s = [np.asarray(records[at].token_times_s, dtype=np.float64) for at in served]
    tokens_s = np.concatenate(times_s) if times_s else np.empty(0)
    first = np.cumsum(counts) - counts
    due_s = np.array([records[at].t_due_s for at in served], dtype=np.float64)
    request = np.array(served, dtype=np.int64)

    ttft = Intervals(request, due_s, tokens_s[first])
    several = np.flatnonzero(counts > 1)
    last = first + counts - 1
    streams = Intervals(request[several], tokens_s[first[several]], tokens_s[last[several]])

    # Each token but the first of a reply ends a gap.
    ends = np.delete(np.arange(len(tokens_s)), first)
    gaps = Intervals(np.repeat(request, counts - 1), tokens_s[ends - 1], tokens_s[ends])
    limit_s = SLOW_FACTOR * float(np.median(gaps.length_s)) if len(gaps) else None
    slow = np.flatnonzero(gaps.length_s > limit_s) if limit_s is not None else np.empty(0, np.int64)
    number = ends - np.repeat(first, counts - 1)
    longest = _longest_hundredth(gaps.length_s)
    return Attributed(
        records=records,
        ttft=_split(timeline, ttft),
        streams=_split(timeline, streams),
        gaps=counts[several] - 1,
        slow=_split(timeline, gaps[slow]),
        slow_tokens=number[slow],
        slow_token_s=limit_s,
        longest=_split(timeline, gaps[longest]),
    )


def _longest_hundredth(length_s: Floats) -> Ints:
    """Positions of the longest 1 %, at least one where there is any."""
    if len(length_s) == 0:
        return np.empty(0, dtype=np.int64)
    most = len(length_s) - max(1, len(length_s) // 100)
    return np.argpartition(length_s, most)[most:]


def _split(timeline: Timeline, intervals: Intervals) -> Latencies:
    return Latencies(intervals, partition(timeline, intervals))
