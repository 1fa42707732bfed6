"""Causal attention of a ragged batch over a KV cache, paged or contiguous.

Sources: Vaswani et al., "Attention Is All You Need", 2017, eq. 1; grouped heads, Ainslie et al.,
"GQA", 2023; paging, Kwon et al., "PagedAttention", 2023, eq. 4; the window, Jiang et al.,
"Mistral 7B", 2023, section 2.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..batch import ContiguousBatch, PagedBatch
from ..registry import implements


@implements("paged_attention", backend="reference", priority=-100)
def paged_attention(
    q: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    batch: PagedBatch,
    scale: float,
    window: int | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """Attention of T packed queries over their sequences' blocks, in float32.

    q [T, query_heads, head_dim]; caches [blocks, block_size, kv_heads, head_dim].
    Query i of a sequence with L new and S cached tokens stands at position p = S - L + i and sees
    keys p - window + 1 … p (all of 0 … p without a window).
    Returns `out` if given, else a new tensor of q's shape and dtype.
    """
    keys, values = [], []
    for table, length in zip(batch.block_tables, batch.kv_lengths, strict=True):
        blocks = table[: -(-length // k_cache.shape[1])]
        keys.append(k_cache[blocks].flatten(0, 1)[:length])
        values.append(v_cache[blocks].flatten(0, 1)[:length])
    return _attend_all(q, keys, values, batch.query_lengths, scale, window, out)


@implements("contiguous_attention", backend="reference", priority=-100)
def contiguous_attention(
    q: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    batch: ContiguousBatch,
    scale: float,
    window: int | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """As `paged_attention`, over caches [tokens, kv_heads, head_dim], one run a sequence."""
    runs = [
        slice(start, start + length)
        for start, length in zip(batch.starts, batch.kv_lengths, strict=True)
    ]
    keys, values = [k_cache[run] for run in runs], [v_cache[run] for run in runs]
    return _attend_all(q, keys, values, batch.query_lengths, scale, window, out)


def _attend_all(
    q: Tensor,
    keys: list[Tensor],
    values: list[Tensor],
    query_lengths: tuple[int, ...],
    scale: float,
    window: int | None,
    out: Tensor | None,
) -> Tensor:
    parts = zip(q.split(query_lengths), keys, values, strict=True)
    attended = torch.cat([_attend(*part, scale, window) for part in parts]).to(q.dtype)
    return attended if out is None else out.copy_(attended)


def _attend(q: Tensor, k: Tensor, v: Tensor, scale: float, window: int | None) -> Tensor:
    """q [L, query_heads, D], k and v [S, kv_heads, D] -> [L, query_heads, D], float32."""
    group = q.shape[1] // k.shape[1]
    k = k.float().repeat_interleave(group, dim=1)
    v = v.float().repeat_interleave(group, dim=1)
    scores = torch.einsum("lhd,shd->hls", q.float(), k) * scale
    key_position = torch.arange(len(k), device=q.device)
    query_position = key_position[len(k) - len(q) :, None]
    seen = key_position <= query_position
    if window is not None:
        seen &= key_position > query_position - window
    weights = scores.masked_fill(~seen, float("-inf")).softmax(dim=-1)
    return torch.einsum("hls,shd->lhd", weights, v)
