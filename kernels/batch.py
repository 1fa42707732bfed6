"""What an attention kernel is told about a ragged batch, whichever engine made it.

Sequences lie one behind the other in the packed token dimension T: sequence i has
`query_lengths[i]` new tokens, which attend causally to its `kv_lengths[i]` cached tokens
(its own new ones included, at the end).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from .device_lengths import DeviceLengths, copied_to


@dataclass(frozen=True)
class PagedBatch:
    """KV cache [blocks, block_size, kv_heads, head_dim], read through block tables.

    block_tables: int64 [sequences, most blocks of any], on the cache's device; entries past a
    sequence's last block are never read.
    on_device: the lengths, where whoever made the batch has them on the cache's device already. The
    tuples say the same, or bound them in a step that is captured: see `device_lengths.py`.
    """

    query_lengths: tuple[int, ...]
    kv_lengths: tuple[int, ...]
    block_tables: Tensor
    on_device: DeviceLengths | None = None

    def lengths_on(self, device: torch.device) -> DeviceLengths:
        """The lengths as tensors, copied to `device` once a step and read by every layer."""
        if self.on_device is not None:
            return self.on_device
        if device not in self._copies:
            self._copies[device] = copied_to(device, self.query_lengths, self.kv_lengths)
        return self._copies[device]

    @cached_property
    def _copies(self) -> dict[torch.device, DeviceLengths]:
        return {}

    @cached_property
    def only_decodes(self) -> bool:
        """Whether every sequence has exactly one new token."""
        return all(length == 1 for length in self.query_lengths)

    @cached_property
    def tables(self) -> tuple[Tensor, ...]:
        """A row of `block_tables` for each sequence, split once a step and read by every layer."""
        return self.block_tables.unbind(0)


@dataclass(frozen=True)
class ContiguousBatch:
    """KV cache [tokens, kv_heads, head_dim]; sequence i is the run from `starts[i]`.

    on_device: as PagedBatch's, with starts.
    """

    query_lengths: tuple[int, ...]
    kv_lengths: tuple[int, ...]
    starts: tuple[int, ...]
    on_device: DeviceLengths | None = None

    def lengths_on(self, device: torch.device) -> DeviceLengths:
        """As PagedBatch.lengths_on, with starts."""
        if self.on_device is not None:
            return self.on_device
        if device not in self._copies:
            lengths = self.query_lengths, self.kv_lengths, self.starts
            self._copies[device] = copied_to(device, *lengths)
        return self._copies[device]

    @cached_property
    def _copies(self) -> dict[torch.device, DeviceLengths]:
        return {}

    @cached_property
    def only_decodes(self) -> bool:
        """As PagedBatch.only_decodes."""
        return all(length == 1 for length in self.query_lengths)


AttentionBatch = PagedBatch | ContiguousBatch
