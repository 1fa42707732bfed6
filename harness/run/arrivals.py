"""Which requests are due, however they are sent: to an engine in process, or to a server."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator
from heapq import heapify, heappop, heappush

from ...workloads.api import Plan, PlannedRequest


class Arrivals:
    """Which requests are due, open loop or closed.

    Open loop: due times are given; a concurrency cap holds a request back but its due time
    stays. Closed loop: a request is due when a slot becomes free. A later turn of a session is due
    its think time after the turn before it has ended, however that ended, and goes before a
    request of a closed loop.
    """

    def __init__(self, plan: Plan) -> None:
        self._pending = deque(one for one in plan.requests if one.after is None)
        self._later: dict[int, list[PlannedRequest]] = defaultdict(list)
        for planned in plan.requests:
            if planned.after is not None:
                self._later[planned.after].append(planned)
        # Later turns that may be sent once their users have thought: due time, index, request.
        self._thinking: list[tuple[float, int, PlannedRequest]] = []
        slots = plan.max_concurrency or len(plan.requests)
        # When each free slot became free.
        self._free_slots_s = [0.0] * slots
        heapify(self._free_slots_s)

    def __bool__(self) -> bool:
        return bool(self._pending or self._thinking or self._later)

    def due(self, now_s: float) -> Iterator[tuple[PlannedRequest, float]]:
        """Requests to send at now_s with the time each was due; takes a slot for each."""
        while self._free_slots_s and (found := self._first()) is not None:
            planned, t_due_s = found
            if t_due_s > now_s:
                return
            if planned.after is None:
                self._pending.popleft()
            else:
                heappop(self._thinking)
            heappop(self._free_slots_s)
            yield planned, t_due_s

    def ended(self, planned: PlannedRequest, time_s: float) -> None:
        """A request that was sent has left: its slot is free, and the next turn's user thinks."""
        heappush(self._free_slots_s, time_s)
        for turn in self._later.pop(planned.index, ()):
            heappush(self._thinking, (time_s + turn.think_s, turn.index, turn))

    def next_due_s(self) -> float | None:
        """When the next request is due if that is known: not while it waits for a slot."""
        found = self._first() if self._free_slots_s else None
        return None if found is None else found[1]

    def _first(self) -> tuple[PlannedRequest, float] | None:
        """The request that is due first. There must be a free slot."""
        turn = self._thinking[0] if self._thinking else None
        if not self._pending:
            return turn and (turn[2], turn[0])
        planned = self._pending[0]
        t_due_s = self._free_slots_s[0] if planned.t_due_s is None else planned.t_due_s
        return (turn[2], turn[0]) if turn and turn[0] <= t_due_s else (planned, t_due_s)
