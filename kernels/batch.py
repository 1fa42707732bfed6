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


@dataclass(frozen=True)
class ContiguousBatch:
    """KV cache [tokens, kv_heads, head_dim]; sequence i is the run from `starts[i]`."""

    query_lengths: tuple[int, ...]
    kv_lengths: tuple[int, ...]
    starts: tuple[int, ...]


AttentionBatch = PagedBatch | ContiguousBatch
