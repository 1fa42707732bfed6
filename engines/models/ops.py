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

    def attend_to_cache(
        self,
        q: Tensor,
        cache: KVTensors,
        layer: int,
        batch: AttentionBatch,
        scale: float,
        window: int | None = None,
    ) -> Tensor:
        """Attention of q [T, heads, head_dim] to what the layer's cache holds, whatever its dtype:
        also to the step's own tokens only as they were stored, so that a token's result does not
        depend on how its prompt was cut."""
        quantized = cache.quantized(layer)
        if quantized is not None:
            return self.quantized_attention_for(batch)(q, quantized, batch, scale, window)
        keys, values = cache.keys[layer], cache.values[layer]
        return self.attention_for(batch)(q, keys, values, batch, scale, window)

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
        """Write the tokens' keys and values to the layer's cache, then `attend_to_cache`.

        q [T, heads, head_dim], k and v [T, kv_heads, head_dim] -> [T, heads, head_dim].
        """
        quantized = cache.quantized(layer)
        if quantized is not None:
            self.quantized_cache_write(k, v, quantized, slot_mapping)
        else:
            self.cache_write(k, v, cache.keys[layer], cache.values[layer], slot_mapping)
        return self.attend_to_cache(q, cache, layer, batch, scale, window)


def cache_ops(kv: str, kv_dtype: str) -> tuple[str, str]:
    """Which of `AttentionOps` writes a cache laid out as `kv` and stored as `kv_dtype`, and which
    reads it."""
    prefix = "" if kv_dtype == "auto" else "quantized_"
    return f"{prefix}cache_write", f"{prefix}{kv}_attention"


@dataclass(frozen=True)
class ModelOps(AttentionOps):
    """All that our own decoder computes with, but for its linear maps."""

    rms_norm: Callable[[Tensor, Tensor, float], Tensor]
    add_rms_norm: Callable[[Tensor, Tensor, Tensor, float], tuple[Tensor, Tensor]]
    rope_cache_write: Callable[..., Tensor]
    rope: Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
    silu_mul: Callable[[Tensor], Tensor]

    def rotate_into_cache(
        self,
        qkv: Tensor,
        norms: tuple[Tensor | None, Tensor | None, float],
        angles: tuple[Tensor, Tensor],
        cache: KVTensors,
        layer: int,
        slot_mapping: Tensor,
    ) -> Tensor:
        """From a fused projection [T, heads + 2 · kv_heads, head_dim] to rotated queries, keys and
        values written to the layer's cache. norms: of queries and keys, and their eps. angles:
        cosines and sines."""
        quantized = cache.quantized(layer)
        if quantized is None:
            keys, values = cache.keys[layer], cache.values[layer]
            return self.rope_cache_write(qkv, *norms, *angles, keys, values, slot_mapping)
        q, k, v = self.rotated(qkv, norms, angles, cache.keys[layer].shape[-2])
        self.quantized_cache_write(k, v, quantized, slot_mapping)
        return q

    def rotated(
        self,
        qkv: Tensor,
        norms: tuple[Tensor | None, Tensor | None, float],
        angles: tuple[Tensor, Tensor],
        kv_heads: int,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """From a fused projection, as `rotate_into_cache` reads it, to rotated queries [T, heads,
        head_dim], rotated keys and values [T, kv_heads, head_dim], where no cache is to be
        written."""
        q, k, v = qkv.split((qkv.shape[1] - 2 * kv_heads, kv_heads, kv_heads), dim=1)
        q_norm, k_norm, eps = norms
        if q_norm is not None and k_norm is not None:
            q, k = self.rms_norm(q, q_norm, eps), self.rms_norm(k, k_norm, eps)
        return *self.rope(q, k, *angles), v


def select_ops(
    device: torch.device, dtype: torch.dtype, force: Mapping[str, str] | None = None
) -> ModelOps:
    """The best implementation of each operation there; `force` names some. Raises KernelError."""
    return ModelOps(**_select(ModelOps, device, dtype, force))


def select_attention_ops(
    device: torch.device, dtype: torch.dtype, force: Mapping[str, str] | None = None
) -> AttentionOps:
    """As `select_ops`, for a model that brings its own arithmetic."""
    return AttentionOps(**_select(AttentionOps, device, dtype, force))


def _select(
    ops: type[AttentionOps],
    device: torch.device,
    dtype: torch.dtype,
    force: Mapping[str, str] | None,
) -> dict[str, Any]:
    return {op.name: select(op.name, device, dtype, force).function for op in fields(ops)}
