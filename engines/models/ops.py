"""The operations a model is made of, chosen once for its device and dtype."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from ...kernels.batch import AttentionBatch, PagedBatch
from ...kernels.registry import select
from .kv_tensors import KVTensors


@dataclass(frozen=True)
class AttentionOps:
    """Functions with the signatures of `kernels/reference`: what reads and writes the cache."""

    cache_write: Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], None]
    paged_attention: Callable[..., Tensor]
    contiguous_attention: Callable[..., Tensor]
    quantized_cache_write: Callable[..., None]
    quantized_paged_attention: Callable[..., Tensor]
    quantized_contiguous_attention: Callable[..., Tensor]

    def attention_for(self, batch: AttentionBatch) -> Callable[..., Tensor]:
        """The attention that reads this batch's layout."""
        return self.paged_attention if isinstance(batch, PagedBatch) else self.contiguous_attention

    def quantized_attention_for(self, batch: AttentionBatch) -> Callable[..., Tensor]:
        """The same over a quantised cache."""
        if isinstance(batch, PagedBatch):
            return self.quantized_paged_attention
        return self.quantized_contiguous_attention

    def attend_through_cache(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        cache: KVTensors,
        layer: int,
        batch: AttentionBatch,
        slot_mapping: Tensor,
        scale: float,
        window: int | None = None,
    ) -> Tensor:
        """Write the tokens' keys and values to the layer's cache, whatever its dtype, then attend
        to what it holds: also to the new ones only as they were stored, so that a token's result
        does not depend on how its prompt was cut.

        q [T, heads, head_dim], k and v [T, kv_heads, head_dim] -> [T, heads, head_dim].
        """
        quantized = cache.quantized(layer)
        if quantized is not None:
            self.quantized_cache_write(k, v, quantized, slot_mapping)
            attend = self.quantized_attention_for(batch)
            return attend(q, quantized, batch, scale, window)
        keys, values = cache.keys[layer], cache.values[layer]
        self.cache_write(k, v, keys, values, slot_mapping)
        return self.attention_for(batch)(q, keys, values, batch, scale, window)


@dataclass(frozen=True)
class ModelOps(AttentionOps):
    """All that our own decoder computes with, but for its linear maps."""

    rms_norm: Callable[[Tensor, Tensor, float], Tensor]
    rope: Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
    silu_mul: Callable[[Tensor], Tensor]


def select_ops(
    device: torch.device, dtype: torch.dtype, force: Mapping[str, str] | None = None
) -> ModelOps:
    """The best implementation of each operation there; `force` names some. Raises KernelError."""
    return ModelOps(**_select(ModelOps, device, dtype, force))


def select_attention_ops(device: torch.device, dtype: torch.dtype) -> AttentionOps:
    """As `select_ops`, for a model that brings its own arithmetic."""
    return AttentionOps(**_select(AttentionOps, device, dtype, None))


def _select(
    ops: type[AttentionOps],
    device: torch.device,
    dtype: torch.dtype,
    force: Mapping[str, str] | None,
) -> dict[str, Any]:
    return {op.name: select(op.name, device, dtype, force).function for op in fields(ops)}
