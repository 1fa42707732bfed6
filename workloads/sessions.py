"""Who follows whom: requests that stand alone, and turns of a session."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .api import RequestShape
from .spec import (
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


@dataclass(frozen=True)
class Slot:
    """A request's place among the others, which are counted from 0.

    history: the request whose prompt and reply its own prompt begins with, if any.
    after: the request whose end it waits for, for think_s more; None: it has a due time.
    """

    history: int | None = None
    after: int | None = None
    think_s: float = 0.0


ALONE = Slot()


class SessionDraws:
    """Turns and think times, session after session, each from a stream of its own."""

    def __init__(self, sessions: Sessions | None, rng: np.random.Generator) -> None:
        self._sessions = sessions
        self._turn_rng, self._think_rng = rng.spawn(2)

    def turns(self) -> int | None:
        """Turns of the next session; None: as many as its conversation has."""
        if self._sessions is None:
            return 1
        turns = self._sessions.turns
        return None if turns is None else turns_at(turns, float(self._turn_rng.random()))

    def think_s(self) -> float:
        """Before the next turn."""
        assert self._sessions is not None
        return _think_s(self._sessions.think_s, self._think_rng)


def turns_at(turns: Turns, u: float) -> int:
    """The number of turns below which a share `u` of sessions lies; u in [0, 1)."""
    match turns:
        case FixedTurns(turns=fixed):
            return fixed
        case UniformTurns(min_turns=low, max_turns=high):
            return min(low + math.floor(u * (high - low + 1)), high)
        case GeometricTurns(mean=mean, max_turns=most):
            on = 1 - 1 / mean
            drawn = 1 + math.floor(math.log1p(-u) / math.log(on)) if on else 1
            return drawn if most is None else min(drawn, most)


def _think_s(think: Think, rng: np.random.Generator) -> float:
    match think:
        case FixedThink(seconds=seconds):
            return seconds
        case UniformThink(min_s=low, max_s=high):
            return float(low + (high - low) * rng.random())
        case ExponentialThink(mean_s=mean):
            return float(mean * rng.standard_exponential())
        case LognormalThink(mu=mu, sigma=sigma):
            return float(math.exp(mu + sigma * rng.standard_normal()))


def draw_slots(
    draws: SessionDraws, num_requests: int | None, num_sessions: int | None
) -> list[Slot]:
    """Slots of whole sessions, until there are enough requests (the last session is cut short) or
    sessions; one of the two is given."""
    slots: list[Slot] = []
    begun = 0
    while len(slots) != num_requests and begun != num_sessions:
        turns = draws.turns() or 1
        begun += 1
        slots.append(ALONE)
        while turns > 1 and len(slots) != num_requests:
            before = len(slots) - 1
            slots.append(Slot(before, before, draws.think_s()))
            turns -= 1
    return slots


def slots_of_rows(rows: Sequence[RequestShape]) -> list[Slot]:
    """Slots as a trace's rows name their sessions."""
    last: dict[str, int] = {}
    slots: list[Slot] = []
    for index, row in enumerate(rows):
        before = None if row.session is None else last.get(row.session)
        waits = row.t_due_s is None and row.think_s is not None
        slots.append(Slot(before, before if waits else None, (row.think_s or 0.0) if waits else 0))
        if row.session is not None:
            last[row.session] = index
    return slots
