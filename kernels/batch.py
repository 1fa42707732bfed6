"""What an attention kernel is told about a ragged batch, whichever engine made it.

Sequences lie one behind the other in the packed token dimension T: sequence i has
`query_lengths[i]` new tokens, which attend causally to its `kv_lengths[i]` cached tokens
(its own new ones included, at the end).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from torch import Tensor


@dataclass(frozen=True)
class PagedBatch:
    """KV cache [blocks, block_size, kv_heads, head_dim], read through block tables.

    block_tables: int64 [sequences, most blocks of any], on the cache's device; entries past a
    sequence's last block are never read.
    """

    query_lengths: tuple[int, ...]
    kv_lengths: tuple[int, ...]
    block_tables: Tensor

    @cached_property
    def tables(self) -> tuple[Tensor, ...]:
        """A row of `block_tables` for each sequence, split once a step and read by every layer."""
        return self.block_tables.unbind(0)

    @cached_property
    def parts(self) -> tuple[PagedBatch | None, PagedBatch | None]:
        """The sequences up to the last one with another number of new tokens than one, and the
        decodes behind them; None for a part that is empty. Split once a step."""
        at = contexts_in(self.query_lengths)
        return (
            PagedBatch(self.query_lengths[:at], self.kv_lengths[:at], self.block_tables[:at])
            if at
            else None,
            PagedBatch(self.query_lengths[at:], self.kv_lengths[at:], self.block_tables[at:])
            if at < len(self.query_lengths)
            else None,
        )


@dataclass(frozen=True)
class ContiguousBatch:
    """KV cache [tokens, kv_heads, head_dim]; sequence i is the run from `starts[i]`."""

    query_lengths: tuple[int, ...]
    kv_lengths: tuple[int, ...]
    starts: tuple[int, ...]

    @cached_property
    def parts(self) -> tuple[ContiguousBatch | None, ContiguousBatch | None]:
        """As PagedBatch.parts."""
        at = contexts_in(self.query_lengths)
        return (
            ContiguousBatch(self.query_lengths[:at], self.kv_lengths[:at], self.starts[:at])
            if at
            else None,
            ContiguousBatch(self.query_lengths[at:], self.kv_lengths[at:], self.starts[at:])
            if at < len(self.query_lengths)
            else None,
        )


def contexts_in(query_lengths: tuple[int, ...]) -> int:
    """How many leading sequences end with the last that does not have exactly one new token."""
    return max((i + 1 for i, length in enumerate(query_lengths) if length != 1), default=0)


AttentionBatch = PagedBatch | ContiguousBatch
