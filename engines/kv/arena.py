"""Arenas of token slots with real holes: where a contiguous KV cache finds its runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Run:
    """Token slots [start, start + length)."""

    start: int
    length: int

    @property
    def end(self) -> int:
        return self.start + self.length


class Arena(Protocol):
    """Hands out runs of slots and takes them back."""

    @property
    def slots(self) -> int: ...

    @property
    def free_slots(self) -> int: ...

    def granted(self, length: int) -> int:
        """The length of the run that is handed out when `length` slots are asked for."""
        ...

    def has_room(self, length: int, count: int = 1) -> bool:
        """Whether `count` runs of `length` could be taken now."""
        ...

    def take(self, length: int) -> Run | None:
        """A run of `granted(length)` slots; None if no hole is large enough."""
        ...

    def give(self, run: Run) -> None:
        """Put a run back."""
        ...


class FirstFitArena:
    """Runs of exactly the asked length from the first hole that is long enough; freed neighbours
    merge. Holes are kept in address order (Knuth, TAOCP 1, section 2.5, algorithms A and B)."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self._holes = [Run(0, slots)]

    @property
    def free_slots(self) -> int:
        return sum(hole.length for hole in self._holes)

    def granted(self, length: int) -> int:
        return length

    def has_room(self, length: int, count: int = 1) -> bool:
        return sum(hole.length // length for hole in self._holes) >= count

    def take(self, length: int) -> Run | None:
        for index, hole in enumerate(self._holes):
            if hole.length >= length:
                rest = Run(hole.start + length, hole.length - length)
                self._holes[index : index + 1] = [rest] if rest.length else []
                return Run(hole.start, length)
        return None

    def give(self, run: Run) -> None:
        before = [hole for hole in self._holes if hole.end < run.start]
        after = [hole for hole in self._holes if hole.start > run.end]
        touching = self._holes[len(before) : len(self._holes) - len(after)]
        start = min([run.start, *(hole.start for hole in touching)])
        end = max([run.end, *(hole.end for hole in touching)])
        self._holes = [*before, Run(start, end - start), *after]


class BuddyArena:
    """Runs whose lengths are powers of two, split from and merged with their buddies.

    Source: Knowlton, "A fast storage allocator", CACM 8(10), 1965; the allocator under the Orca
    baselines of the PagedAttention paper (section 6.1). The slots are cut into aligned powers of
    two, the largest first, so no slot of an odd-sized pool is lost but to alignment.
    """

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self._free: dict[int, list[int]] = {}
        # A run never merges past the piece it was cut from.
        self._pieces: list[Run] = []
        start = 0
        while slots - start:
            length = 1 << (slots - start).bit_length() - 1
            self._pieces.append(Run(start, length))
            self._free.setdefault(length, []).append(start)
            start += length

    @property
    def free_slots(self) -> int:
        return sum(length * len(starts) for length, starts in self._free.items())

    def granted(self, length: int) -> int:
        return 1 << (length - 1).bit_length()

    def has_room(self, length: int, count: int = 1) -> bool:
        size = self.granted(length)
        return sum(hole // size * len(starts) for hole, starts in self._free.items()) >= count

    def take(self, length: int) -> Run | None:
        size = self.granted(length)
        holes = [hole for hole, starts in self._free.items() if starts and hole >= size]
        if not holes:
            return None
        hole = min(holes)
        start = min(self._free[hole])
        self._free[hole].remove(start)
        while hole > size:
            hole //= 2
            self._free.setdefault(hole, []).append(start + hole)
        return Run(start, size)

    def give(self, run: Run) -> None:
        piece = next(piece for piece in self._pieces if piece.start <= run.start < piece.end)
        start, length = run.start, run.length
        while length < piece.length:
            buddy = piece.start + ((start - piece.start) ^ length)
            if buddy not in self._free.get(length, ()):
                break
            self._free[length].remove(buddy)
            start, length = min(start, buddy), 2 * length
        self._free.setdefault(length, []).append(start)
