"""Where keys and values lie: one pair of tensors a layer, in the layout of the KV cache."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .config import ModelConfig


@dataclass(frozen=True)
class KVTensors:
    """keys[layer], values[layer]: [blocks, block_size, kv_heads, head_dim] or
    [tokens, kv_heads, head_dim], contiguous; the model writes them in place."""

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All of them; the first dimension of each is the unit that the KV cache counts in."""
        return self.keys + self.values


def allocate_paged(
    config: ModelConfig,
    num_blocks: int,
    block_size: int,
    dtype: torch.dtype,
    device: torch.device,
) -> KVTensors:
    """Zeroed blocks for every layer."""
    return _allocate(config, (num_blocks, block_size), dtype, device)


def allocate_contiguous(
    config: ModelConfig, slots: int, dtype: torch.dtype, device: torch.device
) -> KVTensors:
    """A zeroed arena of token slots for every layer."""
    return _allocate(config, (slots,), dtype, device)


def _allocate(
    config: ModelConfig, room: tuple[int, ...], dtype: torch.dtype, device: torch.device
) -> KVTensors:
    shape = (*room, config.num_kv_heads, config.head_dim)

    def tensors() -> tuple[Tensor, ...]:
        return tuple(
            torch.zeros(shape, dtype=dtype, device=device) for _ in range(config.num_layers)
        )

    return KVTensors(tensors(), tensors())
