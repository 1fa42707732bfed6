"""Contiguous KV cache: one run of token slots for each request, as long as it could ever need.

Source: the baselines of Orca (Yu et al., OSDI 2022) as the PagedAttention paper measures them:
room for the longest possible request is set aside when a request starts, in one piece, from an
arena with real holes (first fit).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..errors import ConfigError
from ..state import RequestState
from ..step import StepPlan
from ..trace import Holding, KVUsage
from .base import ContiguousLayout


@dataclass(frozen=True)
class Run:
    """Token slots [start, start + length)."""

    start: int
    length: int

    @property
    def end(self) -> int:
        return self.start + self.length


class FirstFitArena:
    """Runs of slots from one array; freed neighbours merge. Holes are kept in address order."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self._holes = [Run(0, slots)]

    @property
    def free_slots(self) -> int:
        return sum(hole.length for hole in self._holes)

    @property
    def largest_hole(self) -> int:
        return max((hole.length for hole in self._holes), default=0)

    def take(self, length: int) -> Run | None:
        """The first hole that is long enough, from its start; None if there is none."""
        for index, hole in enumerate(self._holes):
            if hole.length >= length:
                rest = Run(hole.start + length, hole.length - length)
                self._holes[index : index + 1] = [rest] if rest.length else []
                return Run(hole.start, length)
        return None

    def give(self, run: Run) -> None:
        """Put a run back and merge it with the holes it touches."""
        before = [hole for hole in self._holes if hole.end < run.start]
        after = [hole for hole in self._holes if hole.start > run.end]
        touching = self._holes[len(before) : len(self._holes) - len(after)]
        start = min([run.start, *(hole.start for hole in touching)])
        end = max([run.end, *(hole.end for hole in touching)])
        self._holes = [*before, Run(start, end - start), *after]


class ContiguousKVCache:
    """An arena in which every request reserves `max_model_len` slots (the `max` reservation).

    The units of admission are token slots. A request never grows past its reservation.
    """

    kind = "contiguous"
    grows = False

    def __init__(self, slots: int, max_model_len: int) -> None:
        if slots < max_model_len:
            raise ConfigError("kv_memory", slots, f"room for one request ({max_model_len} tokens)")
        self._arena = FirstFitArena(slots)
        self._reservation = max_model_len
        self._runs: dict[str, Run] = {}

    @property
    def capacity_tokens(self) -> int:
        return self._arena.slots

    @property
    def total_units(self) -> int:
        return self._arena.slots

    @property
    def free_units(self) -> int:
        return self._arena.free_slots

    def units(self, tokens: int) -> int:
        # More than the model's length cannot be held at all; admission refuses it for good.
        return self._reservation if tokens <= self._reservation else self._arena.slots + 1

    def held_units(self, request: RequestState) -> int:
        run = self._runs.get(request.request_id)
        return run.length if run else 0

    def fits(self, units: int) -> bool:
        return units <= self._arena.largest_hole

    def extend(self, request: RequestState, tokens: int) -> bool:
        run = self._runs.get(request.request_id)
        if run is None:
            run = self._arena.take(self.units(tokens))
            if run is None:
                return False
            self._runs[request.request_id] = run
        return tokens <= run.length

    def release(self, request: RequestState) -> None:
        run = self._runs.pop(request.request_id, None)
        if run is not None:
            self._arena.give(run)

    def layout(self, plan: StepPlan) -> ContiguousLayout:
        slots: list[int] = []
        starts: list[int] = []
        for chunk in plan.chunks:
            start = self._runs[chunk.request.request_id].start
            starts.append(start)
            slots.extend(range(start + chunk.start, start + chunk.end))
        return ContiguousLayout(slots, starts)

    def usage(self, live: Iterable[RequestState], head: RequestState | None) -> KVUsage:
        blocked = head is not None and not self.fits(self.units(head.known_tokens))
        return KVUsage(
            capacity_tokens=self.capacity_tokens,
            holdings=tuple(
                Holding(
                    request.request_id,
                    request.computed_tokens,
                    self._runs[request.request_id].length,
                )
                for request in live
                if request.request_id in self._runs
            ),
            external_tokens=self.free_units if blocked else 0,
        )
