"""What policies and executors ask of a KV cache. Bookkeeping only: no tensors, no torch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from ..state import RequestState
from ..step import StepPlan
from ..trace import KVUsage


@dataclass(frozen=True)
class PagedLayout:
    """Where a step's tokens are written and read in a cache of [blocks, block_size] slots.

    slot_mapping: one slot (block x block_size + offset) for each token of the plan, packed.
    block_tables: the blocks of each chunk's request, in position order.
    """

    slot_mapping: list[int]
    block_tables: list[list[int]]
    block_size: int


@dataclass(frozen=True)
class ContiguousLayout:
    """The same for an arena of token slots: chunk i's request is the run from starts[i]."""

    slot_mapping: list[int]
    starts: list[int]


KVLayout = PagedLayout | ContiguousLayout


class KVCache(Protocol):
    """Room for keys and values, counted in the cache's own units (blocks, or token slots).

    Admission policies read the counts; batching policies extend and release.
    """

    @property
    def kind(self) -> str:
        """`paged` or `contiguous`, for reports."""
        ...

    @property
    def capacity_tokens(self) -> int: ...

    @property
    def total_units(self) -> int: ...

    @property
    def free_units(self) -> int: ...

    @property
    def grows(self) -> bool:
        """Whether a request takes more units while it decodes, so that it can run out."""
        ...

    def units(self, tokens: int) -> int:
        """Units a request of `tokens` tokens holds."""
        ...

    def held_units(self, request: RequestState) -> int:
        """Units the request holds now; 0 if it holds none."""
        ...

    def fits(self, units: int) -> bool:
        """Whether `units` more can be given to one new request (a hole that size exists)."""
        ...

    def extend(self, request: RequestState, tokens: int) -> bool:
        """Make room up to `tokens` tokens in all for a request; False, and nothing changed, if
        there is none. Shrinks nothing."""
        ...

    def release(self, request: RequestState) -> None:
        """Give back all the request holds; nothing to do if it holds nothing."""
        ...

    def layout(self, plan: StepPlan) -> KVLayout:
        """Write slots and read tables of a plan whose room has been made."""
        ...

    def usage(self, live: Iterable[RequestState], head: RequestState | None) -> KVUsage:
        """Who holds what now. head: the first in the waiting queue, for whom room that is free
        but not in one piece is external fragmentation."""
        ...
