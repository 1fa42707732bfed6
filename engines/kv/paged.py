"""Paged KV cache: fixed-size blocks handed out one at a time, found through block tables.

Source: Kwon et al., "Efficient Memory Management for Large Language Model Serving with
PagedAttention", SOSP 2023. At most one block a sequence is partly empty, so waste is bounded by
block_size - 1 tokens a sequence, and any free block serves anybody: no external fragmentation.
Blocks are counted by holder, so that samples of one request and requests with one prefix share
them; a shared block is copied before it is written (section 4.4 there).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..errors import ConfigError
from ..state import RequestState
from ..step import StepPlan
from ..trace import Holdings, KVUsage
from .base import Move, MoveKind, PagedLayout
from .blocks import BlockPool
from .prefix import block_hashes, reusable_blocks


class PagedKVCache:
    """Blocks of `block_size` tokens; the units of admission are blocks.

    prefix_cache: whether requests with equal prefixes share blocks. whole_contexts: whether those
    of a context are found only when all of it is computed. host_blocks: room on the host for
    sequences that are swapped out.
    """

    kind = "paged"
    grows = True

    def __init__(
        self,
        num_blocks: int,
        block_size: int,
        *,
        prefix_cache: bool = False,
        whole_contexts: bool = False,
        host_blocks: int = 0,
    ) -> None:
        if block_size < 1:
            raise ConfigError("block_size", block_size, "at least 1")
        if num_blocks < 1:
            raise ConfigError("num_blocks", num_blocks, "at least 1")
        self.block_size = block_size
        self.num_blocks = num_blocks
        self.names_blocks = prefix_cache
        self.whole_contexts = whole_contexts
        self.pool = BlockPool(num_blocks)
        self.host = BlockPool(host_blocks)
        self._tables: dict[RequestState, list[int]] = {}
        self._host_tables: dict[RequestState, list[int]] = {}
        # Tail blocks that samples share until one of them writes, with the tokens written in each.
        self._shared_tails: dict[int, int] = {}
        self._moves: list[Move] = []

    @property
    def capacity_tokens(self) -> int:
        return self.num_blocks * self.block_size

    @property
    def tokens_per_unit(self) -> int:
        return self.block_size

    @property
    def total_units(self) -> int:
        return self.num_blocks

    @property
    def free_units(self) -> int:
        return self.pool.free_blocks

    def _blocks(self, tokens: int) -> int:
        return -(-tokens // self.block_size)

    def units_of(self, request: RequestState, tokens: int) -> int:
        blocks = self._blocks(tokens)
        if request.samples == 1 or tokens <= request.prompt_tokens:
            return blocks
        # The prompt's full blocks are shared by all samples; the rest each has for itself.
        shared = request.prompt_tokens // self.block_size
        return shared + request.samples * (blocks - shared)

    def needs(self, request: RequestState, tokens: int) -> int:
        blocks = self.units_of(request, tokens)
        if not self.names_blocks:
            return blocks
        refs = self.pool.refs
        # A cached block that nobody holds counts as needed: taking it uses up a free one.
        return blocks - sum(refs[block] > 0 for block in self._match(request))

    def fits(self, request: RequestState, tokens: int) -> bool:
        return self.needs(request, tokens) <= self.pool.free_blocks

    def promised_units(self, running: Iterable[RequestState]) -> int:
        tables, size = self._tables, self.block_size
        promised = 0
        for request in running:
            held = len(tables.get(request, ()))
            if request.samples == 1:
                promised += -(-request.full_tokens // size) - held
            else:
                promised += self.units_of(request, request.full_tokens) - held
        return promised + sum(self.pool.refs[block] - 1 for block in self._shared_tails)

    def cached_tokens(self, request: RequestState) -> int:
        if not self.names_blocks or request in self._tables:
            return 0
        return len(self._match(request)) * self.block_size

    def next_new_block(self, request: RequestState) -> bytes | None:
        if not self.names_blocks:
            return None
        held = request in self._tables
        known = request.published_blocks if held else len(self._match(request))
        if known >= reusable_blocks(request, self.block_size):
            return None
        return block_hashes(request, self.block_size, known + 1)[known]

    def extend(self, request: RequestState, tokens: int) -> bool:
        table = self._tables.get(request)
        if table is None:
            return self._start(request, tokens)
        missing = -(-tokens // self.block_size) - len(table)
        if self._shared_tails and self._must_copy(request, table):
            if max(0, missing) + 1 > self.pool.free_blocks:
                return False
            self._copy_tail(request, table)
        if missing <= 0:
            return True
        if missing > self.pool.free_blocks:
            return False
        table.extend([self.pool.take() for _ in range(missing)])
        return True

    def grow(self, requests: Sequence[RequestState]) -> int:
        tables, size, shared = self._tables, self.block_size, self._shared_tails
        for index, request in enumerate(requests):
            known = request.known_tokens
            # Most have room in their last block, which nobody else reads.
            full = known > len(tables[request]) * size
            if (full or shared) and not self.extend(request, known):
                return index
        return len(requests)

    def _start(self, request: RequestState, tokens: int) -> bool:
        pool = self.pool
        found = self._match(request) if self.names_blocks else []
        fresh = self._blocks(tokens) - len(found)
        if fresh + sum(pool.refs[block] == 0 for block in found) > pool.free_blocks:
            return False
        for block in found:
            pool.hold(block)
        table = [*found, *(pool.take() for _ in range(fresh))]
        self._tables[request] = table
        request.published_blocks = len(found)
        return True

    def _match(self, request: RequestState) -> list[int]:
        """The blocks that keep the longest cached prefix."""
        found: list[int] = []
        for index in range(reusable_blocks(request, self.block_size)):
            name = block_hashes(request, self.block_size, index + 1)[index]
            block = self.pool.find(name)
            if block is None:
                break
            found.append(block)
        return found

    def _must_copy(self, request: RequestState, table: list[int]) -> bool:
        """Whether the next token would be written into a block that others read."""
        index = request.computed_tokens // self.block_size
        return (
            index < len(table)
            and table[index] in self._shared_tails
            and self.pool.refs[table[index]] > 1
        )

    def _copy_tail(self, request: RequestState, table: list[int]) -> None:
        index = request.computed_tokens // self.block_size
        shared, own = table[index], self.pool.take()
        table[index] = own
        self._moves.append(Move("copy", shared, own))
        self._drop([shared])

    def fork(self, parent: RequestState, child: RequestState) -> bool:
        blocks = self._blocks(parent.computed_tokens)
        table = self._tables[parent][:blocks]
        for block in table:
            self.pool.hold(block)
        self._tables[child] = table
        tail_tokens = parent.computed_tokens % self.block_size
        if tail_tokens:
            self._shared_tails[table[-1]] = tail_tokens
        return False

    def publish(self, request: RequestState, tokens: int) -> None:
        if not self.names_blocks or (self.whole_contexts and tokens < request.context_tokens):
            return
        full = tokens // self.block_size
        if full <= request.published_blocks:
            return
        if request.awaited_row is not None:
            # A name is made of tokens: a block that ends with one still to come gets none yet.
            full = min(full, request.valued_tokens // self.block_size)
        names = block_hashes(request, self.block_size, full)
        table = self._tables[request]
        for index in range(request.published_blocks, full):
            self.pool.name(table[index], names[index])
        request.published_blocks = full

    def forget(self, request: RequestState) -> None:
        # By name: some have been given back.
        for name in request.block_hashes:
            while (block := self.pool.find(name)) is not None:
                self.pool.forget(block)

    def forget_names(self) -> None:
        self.pool.forget_all()

    def release(self, request: RequestState, *, computed: bool = True) -> None:
        table = self._tables.pop(request, None)
        if table is not None:
            if not computed:
                for block in table[request.computed_tokens // self.block_size :]:
                    self.pool.forget(block)
            self._drop(reversed(table))
        elif request in self._host_tables:
            self.host.drop(self._host_tables.pop(request))
        request.published_blocks = 0

    def _drop(self, blocks: Iterable[int]) -> None:
        if not self._shared_tails:
            self.pool.drop(blocks)
            return
        dropped = list(blocks)
        self.pool.drop(dropped)
        for block in dropped:
            if self.pool.refs[block] <= 1:
                self._shared_tails.pop(block, None)

    def swap_out(self, requests: Sequence[RequestState]) -> bool:
        tables = [self._tables[request] for request in requests]
        if len({block for table in tables for block in table}) > self.host.free_blocks:
            return False
        for request, there in zip(requests, self._relocate("out", tables, self.host), strict=True):
            self._host_tables[request] = there
            self._drop(reversed(self._tables.pop(request)))
        return True

    def swap_in_units(self, requests: Sequence[RequestState]) -> int:
        tables = [self._tables.get(one) or self._host_tables[one] for one in requests]
        return len({block for table in tables for block in table})

    def swap_in(self, requests: Sequence[RequestState]) -> None:
        tables = [self._host_tables[request] for request in requests]
        for request, here in zip(requests, self._relocate("in", tables, self.pool), strict=True):
            self._tables[request] = here
            self.host.drop(self._host_tables.pop(request))
            tail, tokens = divmod(request.computed_tokens, self.block_size)
            if tokens and self.pool.refs[here[tail]] > 1:
                self._shared_tails[here[tail]] = tokens

    def _relocate(
        self, kind: MoveKind, tables: Sequence[list[int]], target: BlockPool
    ) -> list[list[int]]:
        """The same tables on the other side; what was shared here is shared there."""
        places: dict[int, int] = {}
        for table in tables:
            for block in table:
                if block in places:
                    target.hold(places[block])
                else:
                    places[block] = target.take()
                    self._moves.append(Move(kind, block, places[block]))
        return [[places[block] for block in table] for table in tables]

    def take_moves(self) -> list[Move]:
        moves, self._moves = self._moves, []
        return moves

    def block_table(self, request: RequestState) -> tuple[int, ...]:
        """The request's blocks in position order."""
        return tuple(self._tables.get(request, ()))

    def layout(self, plan: StepPlan) -> PagedLayout:
        size = self.block_size
        slots: list[int] = []
        tables: list[list[int]] = []
        for chunk in plan.chunks:
            table = self._tables[chunk.request]
            tables.append(table[: self._blocks(chunk.end)])
            for position in range(chunk.start, chunk.end):
                slots.append(table[position // size] * size + position % size)
        return PagedLayout(slots, tables)

    def usage(self, live: Sequence[RequestState], head: RequestState | None) -> KVUsage:
        del head  # any free block serves anybody
        tables, size = self._tables, self.block_size
        holders = [request for request in live if request in tables]
        return KVUsage(
            capacity_tokens=self.capacity_tokens,
            holdings=Holdings(
                [request.request_id for request in holders],
                [request.computed_tokens for request in holders],
                [len(tables[request]) * size for request in holders],
            ),
            shared_tokens=self._shared_tokens() if self.pool.extra_refs else 0,
            shared_room_tokens=self.pool.extra_refs * size,
            cached_tokens=self.pool.cached_blocks * size if self.names_blocks else 0,
        )

    def _shared_tokens(self) -> int:
        """Shared blocks are full, but for the tails of samples that have not written yet."""
        unwritten = sum(
            (self.pool.refs[block] - 1) * (self.block_size - tokens)
            for block, tokens in self._shared_tails.items()
        )
        return self.pool.extra_refs * self.block_size - unwritten
