"""Attention of a ragged batch in Triton: one launch, whatever mix of contexts and decodes it is.

A program computes a block of queries of one sequence, for the heads of one KV head together. Where
a sequence's blocks begin is a sum over its predecessors, so a program finds its sequence by binary
search, and the grid is an upper bound known without asking the device. The paged and the contiguous
cache differ in one line, from key to slot; the tile of keys is cut without regard to the page.

A batch of decodes with few programs reads each sequence by 16 programs, whose parts a second kernel
adds in a fixed order. `device_lengths.py` says what a captured graph may rely on;
`attention_blocks.py` how the work is cut, and why.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from ..batch import AttentionBatch, ContiguousBatch, PagedBatch
from ..device_lengths import DeviceLengths
from ..registry import KernelError
from .attention_blocks import Blocks, context_blocks, decode_blocks, segments
from .launch import launch
from .register import implements_triton
from .target import interpreted, on_amd, power_of_two

# A tile of wider heads does not fit in shared memory.
LARGEST_HEAD_DIM = 256


def takes(
    q: Tensor,
    k_cache: Tensor,  # noqa: ARG001
    v_cache: Tensor,  # noqa: ARG001
    batch: AttentionBatch,  # noqa: ARG001
    scale: float,
    window: int | None = None,  # noqa: ARG001
    out: Tensor | None = None,  # noqa: ARG001
) -> bool:
    """What `attends` says."""
    return attends(q, scale)


def attends(q: Tensor, scale: float) -> bool:
    """Heads of up to LARGEST_HEAD_DIM. Scores are compared before they are scaled, so the scale
    must be positive."""
    return q.shape[-1] <= LARGEST_HEAD_DIM and scale > 0


@implements_triton("paged_attention", takes=takes)
def paged_attention(
    q: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    batch: PagedBatch,
    scale: float,
    window: int | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """As the reference, of a call that `takes`."""
    return attend(q, k_cache, v_cache, None, None, batch, scale, window, out)


@implements_triton("contiguous_attention", takes=takes)
def contiguous_attention(
    q: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    batch: ContiguousBatch,
    scale: float,
    window: int | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """As the reference, of a call that `takes`."""
    return attend(q, k_cache, v_cache, None, None, batch, scale, window, out)


def attend(
    q: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    k_scales: Tensor | None,
    v_scales: Tensor | None,
    batch: AttentionBatch,
    scale: float,
    window: int | None,
    out: Tensor | None,
) -> Tensor:
    """Both layouts; with scales, the caches hold codes, those of e4m3 as int16 words of two."""
    if q.stride(-1) != 1:
        q = q.contiguous()
    if out is None:
        out = torch.empty_like(q, memory_format=torch.contiguous_format)
    elif out.stride(-1) != 1:
        return out.copy_(
            attend(q, k_cache, v_cache, k_scales, v_scales, batch, scale, window, None)
        )
    if out.numel() == 0:
        return out
    caches = k_cache, v_cache, k_scales, v_scales
    _launch(q, caches, batch, scale * math.log2(math.e), window or 0, out)
    return out


def _launch(
    q: Tensor,
    caches: tuple[Tensor, Tensor, Tensor | None, Tensor | None],
    batch: AttentionBatch,
    scale: float,
    window: int,
    out: Tensor,
) -> None:
    from .attention_kernel import attention_kernel

    tokens, heads, head_dim = q.shape
    kv_heads, sequences = caches[0].shape[-2], len(batch.query_lengths)
    group = heads // kv_heads
    blocks, parts = _cut(q, caches[0], batch)
    if batch.only_decodes:
        grid = (sequences, kv_heads, parts)
    else:
        # What is left over of each sequence takes at most one block more.
        grid = (tokens // (blocks.rows // group) + sequences, kv_heads, 1)
    lengths = batch.lengths_on(q.device)
    place, page = _places(caches[0], batch, lengths)
    rooms = _rooms(out, parts) if parts > 1 else (None, None, None)
    constants: dict[str, Any] = {
        "KV_HEADS": kv_heads,
        "GROUP": group,
        "PAGE": page,
        "DECODE": batch.only_decodes,
        "BLOCK_M": blocks.rows,
        "ASSEMBLY": q.dtype != torch.float32 and not (interpreted() or on_amd()),
    }
    shared: dict[str, Any] = {
        "HEAD_DIM": head_dim,
        "WINDOW": window,
        "SEGMENTS": parts,
        "TILE": blocks.keys,
        # A product takes at least 16 elements, and words are multiplied half by half.
        "D": max(32 if _is_words(caches[0]) else 16, power_of_two(head_dim)),
        "INTERPRETED": interpreted(),
    }
    launch(
        *(attention_kernel, grid),
        *(q, *caches, out, *rooms, place, lengths.query_starts, lengths.kv_lengths),
        *(scale, sequences, *q.stride()[:2], *out.stride()[:2], place.stride(0)),
        **constants,
        **shared,
        warps=blocks.warps,
        stages=blocks.stages,
    )
    if parts > 1:
        _reduce(rooms, out, lengths.kv_lengths, shared)


def _is_words(cache: Tensor) -> bool:
    """Whether an element is two e4m3 codes."""
    return cache.dtype == torch.int16


def _places(cache: Tensor, batch: AttentionBatch, lengths: DeviceLengths) -> tuple[Tensor, int]:
    """Block tables and a block's tokens, or first slots and 0."""
    if isinstance(batch, PagedBatch):
        tables = batch.block_tables
        return tables if tables.stride(1) == 1 else tables.contiguous(), cache.shape[1]
    if lengths.starts is None:
        raise KernelError("the lengths of a contiguous batch on the device need starts")
    return lengths.starts, 0


def _cut(q: Tensor, cache: Tensor, batch: AttentionBatch) -> tuple[Blocks, int]:
    """Blocks, and how many programs share the keys of a sequence."""
    tokens, heads, head_dim = q.shape
    kv_heads, sequences = cache.shape[-2], len(batch.query_lengths)
    group = heads // kv_heads
    paged = isinstance(batch, PagedBatch)
    words = _is_words(cache)
    if not batch.only_decodes:
        rows_each, codes = tokens * group // sequences, cache.dtype == torch.int8
        cut = rows_each, group, head_dim, q.dtype, codes, words, paged, on_amd()
        return context_blocks(*cut), 1
    parts = segments(sequences, kv_heads, max(batch.kv_lengths))
    return decode_blocks(group, head_dim, q.dtype, words, parts > 1, paged, on_amd()), parts


def _rooms(out: Tensor, parts: int) -> tuple[Tensor, Tensor, Tensor]:
    """Where segments leave their sums, peaks and totals."""
    sequences, heads, head_dim = out.shape

    def room(*shape: int) -> Tensor:
        return torch.empty(shape, dtype=torch.float32, device=out.device)

    peaks, totals = room(sequences, heads, parts), room(sequences, heads, parts)
    return room(sequences, heads, parts, head_dim), peaks, totals


def _reduce(
    rooms: tuple[Tensor | None, ...], out: Tensor, kv_lengths: Tensor, shared: dict[str, Any]
) -> None:
    from .attention_kernel import reduce_segments_kernel

    sequences, heads, _ = out.shape
    launch(
        *(reduce_segments_kernel, (sequences, heads)),
        *(*rooms, out, kv_lengths, *out.stride()[:2]),
        HEADS=heads,
        **shared,
        warps=4,
    )
