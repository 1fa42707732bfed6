"""Attention over a KV cache through PyTorch's fused attention, one sequence at a time.

A ragged batch is never padded: a loop over sequences costs less than masking the padding away.
Paged keys and values are gathered into scratch that every call reuses, then read as the
contiguous layout is. Runs on any PyTorch device.
"""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from ..batch import ContiguousBatch, PagedBatch
from ..registry import implements
from ..scratch import scratch


@implements("paged_attention", backend="torch")
def paged_attention(
    q: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    batch: PagedBatch,
    scale: float,
    window: int | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """As the reference. Not for two threads at once: they would share the scratch."""
    out = torch.empty_like(q, memory_format=torch.contiguous_format) if out is None else out
    _, block_size, kv_heads, _ = k_cache.shape
    q_groups, out_groups = _grouped(q, kv_heads), _grouped(out, kv_heads)
    blocks = -(-max(batch.kv_lengths) // block_size)
    room = (2, blocks, *k_cache.shape[1:])
    k_room, v_room = scratch("paged gather", room, k_cache.dtype, k_cache.device)
    k_heads, v_heads = _by_head(k_room.flatten(0, 1)), _by_head(v_room.flatten(0, 1))
    token = 0
    for length, kv_length, table in zip(
        batch.query_lengths, batch.kv_lengths, batch.tables, strict=True
    ):
        first = first_seen(length, kv_length, window) // block_size
        count = -(-kv_length // block_size) - first
        table = table[first : first + count]
        torch.index_select(k_cache, 0, table, out=k_room[:count])
        torch.index_select(v_cache, 0, table, out=v_room[:count])
        run, tokens = slice(kv_length - first * block_size), slice(token, token + length)
        _attend(
            q_groups[tokens], k_heads[:, run], v_heads[:, run], scale, window, out_groups[tokens]
        )
        token += length
    return out


@implements("contiguous_attention", backend="torch")
def contiguous_attention(
    q: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    batch: ContiguousBatch,
    scale: float,
    window: int | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """As the reference; keys and values are read where they lie."""
    out = torch.empty_like(q, memory_format=torch.contiguous_format) if out is None else out
    kv_heads = k_cache.shape[1]
    q_groups, out_groups = _grouped(q, kv_heads), _grouped(out, kv_heads)
    k_heads, v_heads = _by_head(k_cache), _by_head(v_cache)
    token = 0
    for length, kv_length, start in zip(
        batch.query_lengths, batch.kv_lengths, batch.starts, strict=True
    ):
        first = first_seen(length, kv_length, window)
        run, tokens = slice(start + first, start + kv_length), slice(token, token + length)
        _attend(
            q_groups[tokens], k_heads[:, run], v_heads[:, run], scale, window, out_groups[tokens]
        )
        token += length
    return out


def first_seen(length: int, kv_length: int, window: int | None) -> int:
    """The first key that any of the `length` last queries sees."""
    return 0 if window is None else max(0, kv_length - length - window + 1)


def _grouped(x: Tensor, kv_heads: int) -> Tensor:
    """[T, query_heads, D] -> [T, kv_heads, group, D], a view."""
    return x.unflatten(1, (kv_heads, -1))


def _by_head(cache: Tensor) -> Tensor:
    """[tokens, kv_heads, D] -> [kv_heads, tokens, D], a view."""
    return cache.transpose(0, 1)


def _attend(q: Tensor, k: Tensor, v: Tensor, scale: float, window: int | None, out: Tensor) -> None:
    """q and out [L, kv_heads, group, D], k and v [kv_heads, S, D]."""
    length, kv_length = len(q), k.shape[1]
    if length == 0:
        return
    if window is not None and kv_length <= window:
        window = None
    if length == 1:
        # A group's heads share keys as the tokens of one longer query would; none needs a mask.
        if window is not None:
            k, v = k[:, -window:], v[:, -window:]
        out.copy_(F.scaled_dot_product_attention(q, k[None], v[None], scale=scale))
        return
    # Each KV head is a batch entry, its group the heads; stride 0 repeats keys without a copy.
    group = q.shape[2]
    causal = length == kv_length and window is None
    attended = F.scaled_dot_product_attention(
        q.permute(1, 2, 0, 3),
        k[:, None].expand(-1, group, -1, -1),
        v[:, None].expand(-1, group, -1, -1),
        attn_mask=None if causal else _mask(length, kv_length, window, q.device),
        is_causal=causal,
        scale=scale,
    )
    out.copy_(attended.permute(2, 0, 1, 3))


# Every layer of a step asks for the same few masks.
@lru_cache(maxsize=8)
def _mask(length: int, kv_length: int, window: int | None, device: torch.device) -> Tensor:
    """bool [length, kv_length]: what each of the last `length` of kv_length tokens sees."""
    key = torch.arange(kv_length, device=device)
    query = key[kv_length - length :, None]
    seen = key <= query
    return seen if window is None else seen & (key > query - window)
