"""Rotary embedding in Triton, alone and as the one step between projection and attention.

A program turns eight heads of a token, so that a token alone keeps six units busy in an 8B model.
Bytes of rope_cache_write: each element of the projection read once and written once; with 32 query
and 8 KV heads of 128 in bfloat16, 24 KB a token, where norms, rotation and write of their own would
move up to three times that. Bound by bandwidth from some thousand tokens on.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .launch import launch
from .register import implements_triton
from .target import interpreted, power_of_two, warps_for

HEADS = 8


@implements_triton("rope")
def rope(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
    """As the reference."""
    from .rope_kernel import rope_kernel

    q, k = (x if x.stride(-1) == 1 else x.contiguous() for x in (q, k))
    q_out = torch.empty_like(q, memory_format=torch.contiguous_format)
    k_out = torch.empty_like(k, memory_format=torch.contiguous_format)
    tokens, q_heads, head_dim = q.shape
    if tokens:
        launch(
            *(rope_kernel, _grid(tokens, q_heads + k.shape[1])),
            *(q, k, cos.contiguous(), sin.contiguous(), q_out, k_out),
            *(*q.stride()[:2], *k.stride()[:2]),
            Q_HEADS=q_heads,
            KV_HEADS=k.shape[1],
            INTERPRETED=interpreted(),
            **_cut(head_dim),
        )
    return q_out, k_out


@implements_triton("rope_cache_write")
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
    """As the reference; a token whose slot is negative is not written."""
    from .rope_kernel import rope_cache_write_kernel

    tokens, heads, head_dim = qkv.shape
    kv_heads = k_cache.shape[-2]
    q_heads = heads - 2 * kv_heads
    q = torch.empty((tokens, q_heads, head_dim), dtype=qkv.dtype, device=qkv.device)
    if tokens:
        launch(
            *(rope_cache_write_kernel, _grid(tokens, heads)),
            *(qkv, q_norm, k_norm, cos.contiguous(), sin.contiguous()),
            *(q, k_cache, v_cache, slot_mapping, eps),
            Q_HEADS=q_heads,
            KV_HEADS=kv_heads,
            INTERPRETED=interpreted(),
            **_cut(head_dim),
        )
    return q


def _grid(tokens: int, heads: int) -> tuple[int, int]:
    return tokens, -(-heads // HEADS)


def _cut(head_dim: int) -> dict[str, int]:
    half = head_dim // 2
    pairs = power_of_two(half)
    return {"HALF": half, "HEADS": HEADS, "PAIRS": pairs, "warps": warps_for(HEADS * pairs)}
