"""What is asked of a KV cache, by who asks. Bookkeeping only: no tensors, no torch.

Room is counted in the cache's own units: blocks, or token slots. Unless said otherwise, a count is
for all the samples a sequence still stands for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

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


@dataclass(frozen=True)
class ContiguousLayout:
    """The same for an arena of token slots: chunk i's request is the run from starts[i]."""

    slot_mapping: list[int]
    starts: list[int]


KVLayout = PagedLayout | ContiguousLayout

MoveKind = Literal["copy", "out", "in"]


class Move(NamedTuple):
    """Keys and values to move before a step computes: `length` units from `source` on.

    `copy`: within the device; `out`: device to host; `in`: host to device. The unit is a block in
    a paged cache and a token slot in a contiguous one. Moves are carried out in order: a later one
    may overwrite what an earlier one read.
    """

    kind: MoveKind
    source: int
    target: int
    length: int = 1


class KVRoom(Protocol):
    """What admission asks: how much room there is. Nothing is changed by asking."""

    @property
    def tokens_per_unit(self) -> int: ...

    @property
    def total_units(self) -> int: ...

    @property
    def free_units(self) -> int: ...

    @property
    def grows(self) -> bool:
        """Whether a request takes more units while it decodes, so that it can run out."""
        ...

    def units_of(self, request: RequestState, tokens: int) -> int:
        """Units the request holds with room for `tokens` tokens a sample, in an empty cache."""
        ...

    def needs(self, request: RequestState, tokens: int) -> int:
        """Free units that a request which holds nothing would take now for `tokens` tokens."""
        ...

    def fits(self, request: RequestState, tokens: int) -> bool:
        """Whether `KVAllocator.extend` would succeed now, for a request that holds nothing."""
        ...

    def promised_units(self, running: Iterable[RequestState]) -> int:
        """Units that running requests may still take before they end at their full length."""
        ...

    def swap_in_units(self, requests: Sequence[RequestState]) -> int:
        """Units that bringing them back from the host takes, or will once they are there."""
        ...


class KVAllocator(Protocol):
    """What batching does: give a sequence room, and take it back."""

    def extend(self, request: RequestState, tokens: int) -> bool:
        """Make room up to `tokens` tokens in all; False, and nothing changed, if there is none.

        A request that holds nothing takes its cached tokens along. What the next write would
        change under another holder's eyes is copied first. Shrinks nothing.
        """
        ...

    def grow(self, requests: Sequence[RequestState]) -> int:
        """Make room for all that each of them knows, in order, until one finds none; how many found
        it. The same as `extend` for each, and faster. requests: all hold something."""
        ...

    def fork(self, parent: RequestState, child: RequestState) -> bool:
        """Give a new sample what the parent has computed; shared where the layout allows it.
        Whether it has to be moved first, by the moves of the next step."""
        ...

    def release(self, request: RequestState, *, computed: bool = True) -> None:
        """Give back all the request holds; nothing to do if it holds nothing. computed: whether
        what was published of it has really been computed."""
        ...

    def swap_out(self, requests: Sequence[RequestState]) -> bool:
        """Move what they hold to the host; False, and nothing changed, if it has no room."""
        ...

    def swap_in(self, requests: Sequence[RequestState]) -> None:
        """Bring them back; `KVRoom.swap_in_units` must be free."""
        ...


class PrefixCache(Protocol):
    """How requests with equal prefixes find each other's blocks: by a name made of their tokens."""

    @property
    def names_blocks(self) -> bool:
        """Whether they do; else `publish` does nothing."""
        ...

    def cached_tokens(self, request: RequestState) -> int:
        """Tokens at the front of a request that holds nothing which need not be computed."""
        ...

    def next_new_block(self, request: RequestState) -> bytes | None:
        """The name of the first whole block of a request that is neither cached nor computed;
        None where there is none, or blocks have no names."""
        ...

    def publish(self, request: RequestState, tokens: int) -> None:
        """The first `tokens` tokens are computed: others with the same tokens may use them."""
        ...

    def forget(self, request: RequestState) -> None:
        """Nobody finds what the request has computed, or found itself: it may be no numbers."""
        ...

    def forget_names(self) -> None:
        """No block is found by its content any more: what some were to hold was not computed."""
        ...


class KVPlacement(Protocol):
    """What computing a step takes: where tokens lie, and what has to be moved there first."""

    @property
    def tokens_per_unit(self) -> int: ...

    def take_moves(self) -> list[Move]:
        """What is to be moved before the next step computes; forgotten once taken."""
        ...

    def layout(self, plan: StepPlan) -> KVLayout:
        """Write slots and read tables of a plan whose room has been made."""
        ...


class KVCache(KVRoom, KVAllocator, PrefixCache, KVPlacement, Protocol):
    """Room for keys and values."""

    @property
    def kind(self) -> str:
        """`paged` or `contiguous`, for reports."""
        ...

    @property
    def capacity_tokens(self) -> int: ...

    def usage(self, live: Sequence[RequestState], head: RequestState | None) -> KVUsage:
        """Who holds what now. head: the first in the waiting queue, for whom free room of
        which no one piece is large enough is external, and all of it."""
        ...
