"""Intervals of requests, cut at the boundaries of steps, as parts. The package says the rule."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .layout import Floats
from .timeline import Timeline

Ints = NDArray[np.int64]

# Every part by its rule, and last what is in none of those.
PARTS = ("queue", "own_prefill", "others_prefill", "decode", "preemption", "host", "residual")
_AT = {part: at for at, part in enumerate(PARTS)}
# Chunks looked at together: bounds the memory, whatever the length of the run.
BLOCK_CHUNKS = 400_000


@dataclass(frozen=True)
class Intervals:
    """Stretches of time of requests: [n] each. request: its position in the timeline."""

    request: Ints
    start_s: Floats
    end_s: Floats

    def __len__(self) -> int:
        return len(self.request)

    def __getitem__(self, chosen: slice | Ints) -> Intervals:
        return Intervals(self.request[chosen], self.start_s[chosen], self.end_s[chosen])

    @property
    def length_s(self) -> Floats:
        return self.end_s - self.start_s


def partition(timeline: Timeline, intervals: Intervals) -> Floats:
    """Seconds of each of `PARTS` in each interval: [n, 7]. They sum to its length; none but the
    residual, which rounding can leave a hair below 0, is negative.
    """
    found = np.zeros((len(intervals), len(PARTS)))
    layout, own = timeline.layout, timeline.own
    first_step = np.searchsorted(layout.end_s, intervals.start_s, side="right")
    end_step = np.searchsorted(layout.start_s, intervals.end_s, side="left")
    low = own.position(intervals.request, first_step, timeline.steps)
    high = own.position(intervals.request, np.maximum(first_step, end_step), timeline.steps)
    idle = _Idle(timeline)
    for block in _blocks(high - low):
        found[block] = _partition(timeline, idle, intervals[block], low[block], high[block])
    found[:, _AT["residual"]] = intervals.length_s - found.sum(axis=1)
    return found


def _blocks(chunks: Ints) -> Iterator[slice]:
    """Consecutive intervals, as many as have `BLOCK_CHUNKS` chunks and at least one."""
    upto = np.cumsum(chunks)
    start = 0
    while start < len(chunks):
        before = upto[start] - chunks[start]
        stop = max(start + 1, int(np.searchsorted(upto, before + BLOCK_CHUNKS, side="right")))
        yield slice(start, stop)
        start = stop


def _partition(
    timeline: Timeline, idle: _Idle, intervals: Intervals, low: Ints, high: Ints
) -> Floats:
    """One block. low, high: [n] the chunks of each interval's request that it touches."""
    layout, own = timeline.layout, timeline.own
    counts = high - low
    interval = np.repeat(np.arange(len(intervals)), counts)
    leads = np.cumsum(counts) - counts  # where the chunks of each interval begin
    chunk = np.arange(len(interval)) - leads[interval] + low[interval]
    step = own.step[chunk]
    start_s, end_s = intervals.start_s[interval], intervals.end_s[interval]
    found = _sum(_in_own_steps(timeline, chunk, start_s, end_s), interval, len(intervals))

    # The time before each chunk, from the step of the chunk before it.
    before_s = np.append(-np.inf, layout.end_s[step[:-1]])[: len(step)]
    leading = np.flatnonzero(counts)
    before_s[leads[leading]] = -np.inf
    from_s = np.clip(before_s, start_s, end_s)
    to_s = np.clip(layout.start_s[step], from_s, end_s)
    found += _sum(
        idle.parts(from_s, to_s, own.first[chunk], own.lost_from_s[chunk]),
        interval,
        len(intervals),
    )

    # The time after the last chunk: what the request was is said by the next one, if there is one.
    last_s = np.full(len(intervals), -np.inf)
    last_s[leading] = layout.end_s[own.step[high[leading] - 1]]
    from_s = np.clip(last_s, intervals.start_s, intervals.end_s)
    first, lost_from_s = _before(timeline, intervals.request, high)
    return found + idle.parts(from_s, intervals.end_s, first, lost_from_s)


def _before(timeline: Timeline, request: Ints, chunk: Ints) -> tuple[NDArray[np.bool_], Floats]:
    """`first` and `lost_from_s` of the chunk, where it is the request's."""
    own = timeline.own
    first, lost_from_s = np.zeros(len(chunk), dtype=np.bool_), np.full(len(chunk), np.inf)
    at = np.flatnonzero(chunk < len(own))
    at = at[own.request[chunk[at]] == request[at]]
    first[at], lost_from_s[at] = own.first[chunk[at]], own.lost_from_s[chunk[at]]
    return first, lost_from_s


def _in_own_steps(timeline: Timeline, chunk: Ints, start_s: Floats, end_s: Floats) -> Floats:
    """Parts of the step of each chunk, as far as it lies in (start_s, end_s]: [chunks, 7]."""
    layout, own = timeline.layout, timeline.own
    step = own.step[chunk]

    def covered(begin_s: Floats, finish_s: Floats) -> Floats:
        return np.maximum(np.minimum(finish_s[step], end_s) - np.maximum(begin_s[step], start_s), 0)

    host_s = covered(layout.start_s, layout.swap_s) + covered(layout.after_s, layout.done_s)
    swap_s = covered(layout.swap_s, layout.model_s)
    model_s = covered(layout.model_s, layout.after_s)
    again = own.again[chunk]
    fresh = 1.0 - again
    decode_share, prompt_share = timeline.told.decode_share[step], own.prompt_share[chunk]
    prefill_s = fresh * (1.0 - decode_share) * model_s
    others_again = np.clip(
        timeline.again_share[step] - again * prompt_share, 0.0, 1.0 - prompt_share
    )
    found = np.zeros((len(chunk), len(PARTS)))
    found[:, _AT["own_prefill"]] = prompt_share * prefill_s
    found[:, _AT["others_prefill"]] = (1.0 - prompt_share - others_again) * prefill_s
    found[:, _AT["decode"]] = fresh * decode_share * model_s
    found[:, _AT["preemption"]] = again * (host_s + model_s) + swap_s + others_again * prefill_s
    found[:, _AT["host"]] = fresh * host_s
    return found


class _Idle:
    """Time in which nothing of a request is computed, told apart by what the engine did."""

    def __init__(self, timeline: Timeline) -> None:
        layout = timeline.layout
        took_s = layout.end_s - layout.start_s
        prompts = timeline.prefill_tokens > 0
        decodes = ~prompts & (timeline.decode_tokens > 0)
        self._knots = np.stack([layout.start_s, layout.end_s], axis=1).ravel()
        again_s = timeline.again_share * took_s
        self._again_s = _grown(again_s)
        self._prompts_s = _grown(np.where(prompts, took_s - again_s, 0.0))
        self._decodes_s = _grown(np.where(decodes, took_s, 0.0))

    def parts(
        self, from_s: Floats, to_s: Floats, first: NDArray[np.bool_], lost_from_s: Floats
    ) -> Floats:
        """[n, 7]. first, lost_from_s: of the chunk that ends the wait; see `OwnChunks`."""
        found = np.zeros((len(from_s), len(PARTS)))
        length_s = to_s - from_s
        lost_at_s = np.where(first, from_s, np.clip(lost_from_s, from_s, to_s))
        found[:, _AT["queue"]] = np.where(first, length_s, 0.0)
        found[:, _AT["preemption"]] = np.where(first, 0.0, to_s - lost_at_s)
        at = np.flatnonzero(lost_at_s > from_s)
        rest_s = lost_at_s[at] - from_s[at]
        for part, grown_s in (
            ("preemption", self._again_s),
            ("others_prefill", self._prompts_s),
            ("queue", self._decodes_s),
        ):
            took_s = self._between(grown_s, from_s[at], lost_at_s[at], rest_s)
            found[at, _AT[part]] += took_s
            rest_s = rest_s - took_s
        found[at, _AT["host"]] = rest_s
        return found

    def _between(self, grown_s: Floats, from_s: Floats, to_s: Floats, most_s: Floats) -> Floats:
        if len(self._knots) == 0:
            return np.zeros_like(from_s)
        upto = np.interp(to_s, self._knots, grown_s)
        # Rounding may not make a part negative, or a sum more than the whole.
        return np.clip(upto - np.interp(from_s, self._knots, grown_s), 0.0, most_s)


def _grown(took_s: Floats) -> Floats:
    """The running total at the start and the end of each step."""
    upto = np.cumsum(took_s)
    return np.stack([upto - took_s, upto], axis=1).ravel()


def _sum(parts: Floats, interval: Ints, count: int) -> Floats:
    """The rows of each interval added up: [count, 7]."""
    found = np.zeros((count, len(PARTS)))
    for at in range(len(PARTS)):
        found[:, at] = np.bincount(interval, parts[:, at], minlength=count)
    return found
