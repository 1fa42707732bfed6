"""Rotary position embedding.

Source: Su et al., "RoFormer", 2021, eq. 34, with the pairing of Hugging Face's Llama: element i
turns with element i + head_dim/2 (the paper turns 2i with 2i + 1; the checkpoints are permuted).
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..registry import implements
from .cache import cache_write
from .norm import rms_norm


@implements("rope", backend="reference", priority=-100)
def rope(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
    """Rotate every head of q and k by its token's angles, in float32; new tensors.

    q [T, query_heads, head_dim], k [T, kv_heads, head_dim]: any strides.
    cos, sin [T, head_dim / 2]: one angle a pair, in q's dtype (Hugging Face's tables hold each
    angle twice; these do not).
    """
    return _rotate(q, cos, sin), _rotate(k, cos, sin)


@implements("rope_cache_write", backend="reference", priority=-100)
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
    """All that a fused projection goes through before attention: the norms of queries and keys,
    where a model has them, the rotation, and the write of keys and values to their slots.

    qkv [T, query_heads + 2 · kv_heads, head_dim], contiguous, left as it is or overwritten: the
    caller reads it no more, and the result may be a view of it; q_norm, k_norm [head_dim] or None,
    both or neither; cos, sin as for `rope`; caches and slots as for `cache_write`.
    Returns the rotated queries [T, query_heads, head_dim].
    """
    kv_heads = k_cache.shape[-2]
    q, k, v = qkv.split((qkv.shape[1] - 2 * kv_heads, kv_heads, kv_heads), dim=1)
    if q_norm is not None and k_norm is not None:
        q, k = rms_norm(q, q_norm, eps), rms_norm(k, k_norm, eps)
    q, k = rope(q, k, cos, sin)
    cache_write(k, v, k_cache, v_cache, slot_mapping)
    return q


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = x.float().chunk(2, dim=-1)
    cos, sin = cos.float()[:, None], sin.float()[:, None]
    turned = torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
    return turned.to(x.dtype)
