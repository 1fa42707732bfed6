"""Rotary position embedding in the activations' own dtype, on any PyTorch device."""

from __future__ import annotations

import torch
from torch import Tensor

from ..registry import implements
from .cache import cache_write
from .norm import rms_norm


@implements("rope", backend="torch")
def rope(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
    """As the reference; equal to transformers' apply_rotary_pos_emb bit for bit, in any dtype."""
    cos, sin = cos[:, None], sin[:, None]
    return _rotate(q, cos, sin), _rotate(k, cos, sin)


@implements("rope_cache_write", backend="torch")
def rope_cache_write(
    qkv: Tensor,
    q_norm: Tensor | None,
    k_norm: Tensor | None,
    eps: float,
    cos: Tensor,
    sin: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    slot_mapping: Tensor,
) -> Tensor:
    """As the reference, one operator after the other."""
    kv_heads = k_cache.shape[-2]
    q, k, v = qkv.split((qkv.shape[1] - 2 * kv_heads, kv_heads, kv_heads), dim=1)
    if q_norm is not None and k_norm is not None:
        q, k = rms_norm(q, q_norm, eps), rms_norm(k, k_norm, eps)
    q, k = rope(q, k, cos, sin)
    cache_write(k, v, k_cache, v_cache, slot_mapping)
    return q


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = x.chunk(2, dim=-1)
    # No addcmul: its fused multiply-add rounds once where transformers rounds twice.
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
