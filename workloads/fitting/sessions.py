"""Which sessions go as a trace's do: what a turn adds, how many there are, how long users think.

Of turns and of think times the kinds that a workload file knows are tried in order of their
parameters; the first whose cumulative distribution is near the trace's is taken, and where none is,
the nearest.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ..api import RequestShape, WorkloadError
from ..lengths import Tokens
from ..sessions import SessionDraws, draw_slots, slots_of_rows
from ..spec import (
    ExponentialThink,
    FixedThink,
    FixedTurns,
    GeometricTurns,
    LognormalThink,
    Sessions,
    Think,
    Turns,
    UniformThink,
    UniformTurns,
)
from ..spec.bounds import MOST_MEAN_TURNS
from .burstiness import Seconds
from .lengths import NEAR
from .rounding import rounded

# Turns decide how many requests an arrival brings, so their mean must be met as well.
_NEAR_MEAN = 0.05
Counts = NDArray[np.int64]
Kind = TypeVar("Kind")


@dataclass(frozen=True)
class TracedSessions:
    """Sessions of a trace whose later turns wait for replies; a row of no session is one of one
    turn. added: [requests, 2] tokens that a turn adds to what was said before, and its reply's.
    turns: of each session. think_s: before each later turn. prompts: [requests] tokens with all
    that was said before. shorter: later turns whose prompt is shorter than that and one token."""

    added: Tokens
    turns: Counts
    think_s: Seconds
    prompts: Counts
    shorter: int = 0


@dataclass(frozen=True)
class FittedSessions:
    """Sessions, and how far turns and think times are from the trace's, by Kolmogorov's
    distance."""

    sessions: Sessions
    turns_distance: float
    think_distance: float


def traced_sessions(path: Path, rows: Sequence[RequestShape]) -> TracedSessions | None:
    """None where every row has a due time: then requests arrive by the clock, whatever their
    session. Raises WorkloadError where some later turns have one and others wait."""
    slots = slots_of_rows(rows)
    if all(slot.after is None for slot in slots):
        return None
    by_clock = sum(slot.history is not None and slot.after is None for slot in slots)
    if by_clock:
        problem = f"has {by_clock} later turns with a t_due_s of their own and others without"
        raise WorkloadError("trace", path, "one or the other to fit a workload to", problem)
    prompts = np.array([row.input_tokens for row in rows], dtype=np.int64)
    replies = np.array([row.output_tokens for row in rows], dtype=np.int64)
    added, turns = prompts.copy(), []
    place: list[int] = []
    for index, slot in enumerate(slots):
        if slot.after is None:
            place.append(len(turns))
            turns.append(1)
        else:
            place.append(place[slot.after])
            turns[place[index]] += 1
            added[index] -= prompts[slot.after] + replies[slot.after]
    return TracedSessions(
        np.stack((np.maximum(added, 1), np.maximum(replies, 1)), axis=1),
        np.array(turns, dtype=np.int64),
        np.array([slot.think_s for slot in slots if slot.after is not None]),
        prompts,
        int((added[[slot.after is not None for slot in slots]] < 1).sum()),
    )


def fit_sessions(traced: TracedSessions) -> FittedSessions:
    """The kinds that go as the trace's do."""
    turns, turns_apart = fit_turns(traced.turns)
    think, think_apart = fit_think(traced.think_s)
    return FittedSessions(Sessions(turns=turns, think_s=think), turns_apart, think_apart)


def fit_turns(turns: Counts) -> tuple[Turns, float]:
    """(kind, its distance). turns: of each session, some more than 1."""
    low, high, mean = int(turns.min()), int(turns.max()), float(turns.mean())
    if low == high:
        return FixedTurns(kind="fixed", turns=low), 0.0
    at = np.arange(1, high + 1)
    found = np.searchsorted(np.sort(turns), at, side="right") / len(turns)

    def apart(cumulative: NDArray[np.floating]) -> float:
        return float(np.abs(found - cumulative).max())

    tried: list[tuple[float, Turns]] = []
    if abs((low + high) / 2 / mean - 1) <= _NEAR_MEAN:
        uniform = UniformTurns(kind="uniform", min_turns=low, max_turns=high)
        even = np.clip((at - low + 1) / (high - low + 1), 0, 1)
        tried.append((apart(even), uniform))
    for most in (None, high):
        on = 1 - 1 / mean if most is None else _on_of_mean(mean, most)
        left = 1 - on**at
        if most is not None:
            left[-1] = 1.0
        going_on = min(rounded(1 / (1 - on)), MOST_MEAN_TURNS)
        kind = GeometricTurns(kind="geometric", mean=going_on, max_turns=most)
        tried.append((apart(left), kind))
    distance, kind = _first_near(tried)
    return kind, distance


def _on_of_mean(mean: float, most: int) -> float:
    """The probability to go on that gives sessions of at most `most` turns that mean, by bisection:
    it is (1 - on^most) / (1 - on)."""
    low, high = 0.0, 1 - 1e-9
    while high - low > 1e-9:
        middle = (low + high) / 2
        low, high = (middle, high) if (1 - middle**most) / (1 - middle) < mean else (low, middle)
    return (low + high) / 2


def fit_think(think_s: Seconds) -> tuple[Think, float]:
    """(kind, its distance). think_s: before each later turn, at least one."""
    low, high, mean = float(think_s.min()), float(think_s.max()), float(think_s.mean())
    if high - low <= 1e-9 * high:
        return FixedThink(kind="fixed", seconds=rounded(mean)), 0.0
    exponential = ExponentialThink(kind="exponential", mean_s=rounded(mean))
    uniform = UniformThink(kind="uniform", min_s=rounded(low), max_s=rounded(high))
    tried: list[tuple[float, Think]] = [
        (_apart(think_s, lambda s: 1 - math.exp(-s / mean)), exponential),
        (_apart(think_s, lambda s: (s - low) / (high - low)), uniform),
    ]
    if low > 0:
        logs = np.log(think_s)
        mu, sigma = float(logs.mean()), max(float(logs.std()), 1e-4)
        lognormal = LognormalThink(kind="lognormal", mu=round(mu, 4), sigma=round(sigma, 4))
        tried.append(
            (
                _apart(
                    think_s,
                    lambda s: 0.5 * (1 + math.erf((math.log(s) - mu) / (sigma * math.sqrt(2)))),
                ),
                lognormal,
            )
        )
    distance, kind = _first_near(tried)
    return kind, distance


def _first_near(tried: Sequence[tuple[float, Kind]]) -> tuple[float, Kind]:
    near = (one for one in tried if one[0] <= NEAR)
    return next(near, None) or min(tried, key=lambda one: one[0])


def _apart(values_s: Seconds, cumulative: Callable[[float], float]) -> float:
    """Kolmogorov's distance of values from a continuous distribution."""
    values, counts = np.unique(values_s, return_counts=True)
    up_to = np.cumsum(counts) / len(values_s)
    below = up_to - counts / len(values_s)
    expected = np.array([cumulative(value) for value in values.tolist()])
    return float(max(np.abs(up_to - expected).max(), np.abs(expected - below).max()))


def drawn_sessions(sessions: Sessions, added: Tokens) -> TracedSessions:
    """What a fit sends of as many requests, with the lengths that were drawn for them: the trace's
    other side. added: [requests, 2] tokens: input, output."""
    draws = SessionDraws(sessions, np.random.default_rng(0))
    slots = draw_slots(draws, len(added), None)
    prompts = added[:, 0].copy()
    turns: list[int] = []
    for index, slot in enumerate(slots):
        if slot.after is None:
            turns.append(1)
        else:
            turns[-1] += 1
            prompts[index] += prompts[slot.after] + added[slot.after, 1]
    thought = np.array([slot.think_s for slot in slots if slot.after is not None])
    return TracedSessions(added, np.array(turns, dtype=np.int64), thought, prompts)
