"""Paged KV cache: fixed-size blocks handed out one at a time, found through block tables.

Source: Kwon et al., "Efficient Memory Management for Large Language Model Serving with
PagedAttention", SOSP 2023. At most one block a request is partly empty, so waste is bounded by
block_size - 1 tokens a request, and any free block serves anybody: no external fragmentation.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..errors import ConfigError
from ..state import RequestState
from ..step import StepPlan
from ..trace import Holding, KVUsage
from .base import PagedLayout


class PagedKVCache:
    """Blocks of `block_size` tokens; the units of admission are blocks."""

    kind = "paged"
    grows = True

    def __init__(self, num_blocks: int, block_size: int) -> None:
        if block_size < 1:
            raise ConfigError("block_size", block_size, "at least 1")
        if num_blocks < 1:
            raise ConfigError("num_blocks", num_blocks, "at least 1")
        self.block_size = block_size
        self.num_blocks = num_blocks
        # A stack whose top is the lowest block: the same schedule gives the same tables.
        self._free = list(range(num_blocks - 1, -1, -1))
        self._tables: dict[str, list[int]] = {}

    @property
    def capacity_tokens(self) -> int:
        return self.num_blocks * self.block_size

    @property
    def total_units(self) -> int:
        return self.num_blocks

    @property
    def free_units(self) -> int:
        return len(self._free)

    def units(self, tokens: int) -> int:
        return -(-tokens // self.block_size)

    def held_units(self, request: RequestState) -> int:
        return len(self._tables.get(request.request_id, ()))

    def fits(self, units: int) -> bool:
        return units <= len(self._free)

    def extend(self, request: RequestState, tokens: int) -> bool:
        table = self._tables.get(request.request_id)
        missing = self.units(tokens) - (len(table) if table else 0)
        if missing <= 0:
            return True
        if missing > len(self._free):
            return False
        if table is None:
            table = self._tables[request.request_id] = []
        for _ in range(missing):
            table.append(self._free.pop())
        return True

    def release(self, request: RequestState) -> None:
        self._free.extend(reversed(self._tables.pop(request.request_id, ())))

    def block_table(self, request: RequestState) -> tuple[int, ...]:
        """The request's blocks in position order."""
        return tuple(self._tables.get(request.request_id, ()))

    def layout(self, plan: StepPlan) -> PagedLayout:
        size = self.block_size
        slots: list[int] = []
        tables: list[list[int]] = []
        for chunk in plan.chunks:
            table = self._tables[chunk.request.request_id]
            tables.append(table[: self.units(chunk.end)])
            for position in range(chunk.start, chunk.end):
                slots.append(table[position // size] * size + position % size)
        return PagedLayout(slots, tables, size)

    def usage(self, live: Iterable[RequestState], head: RequestState | None) -> KVUsage:
        del head  # any free block serves anybody
        return KVUsage(
            capacity_tokens=self.capacity_tokens,
            holdings=tuple(
                Holding(
                    request.request_id,
                    request.computed_tokens,
                    len(self._tables[request.request_id]) * self.block_size,
                )
                for request in live
                if request.request_id in self._tables
            ),
        )
