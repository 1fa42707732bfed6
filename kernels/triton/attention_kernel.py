"""The attention kernels themselves; importing this imports Triton. The host's side is
`attention.py`, which says how the work is cut.

A row of a program's tile of queries is one head of one token: the heads of a group lie side by
side, since they read the same keys. What is done with a tile of these is in `attention_tiles.py`
and, for codes of e4m3, in `attention_words.py`.
"""
# ruff: noqa: N803, N806 -- sizes and compile-time constants are upper case in Triton's code
# To a type checker, a jit function that is called from Python never returns.
# pyright: reportGeneralTypeIssues=false

from __future__ import annotations

import triton
import triton.language as tl

from .attention_tiles import LEAST, attend
from .attention_words import attend_words
from .conversions import narrowed

# Of these, neither a value nor an alignment is compiled for: they change from step to step.
_OF_THE_STEP = ["place_ptr", "query_starts_ptr", "kv_lengths_ptr", "sequences", "place_stride"]


@triton.jit(do_not_specialize=_OF_THE_STEP)
def attention_kernel(
    q_ptr,  # [T, KV_HEADS * GROUP, HEAD_DIM], elements of a head side by side
    k_ptr,  # [slots, KV_HEADS, HEAD_DIM], contiguous; int16: words of two e4m3 codes
    v_ptr,
    k_scale_ptr,  # [slots, KV_HEADS], contiguous; None: the cache holds no codes
    v_scale_ptr,
    out_ptr,  # as q
    part_ptr,  # float32 [sequences, heads, SEGMENTS, HEAD_DIM], of DECODE in segments
    peak_ptr,  # float32 [sequences, heads, SEGMENTS]
    total_ptr,  # float32 [sequences, heads, SEGMENTS]
    place_ptr,  # PAGE: block tables [sequences, …]; else the first slot of each sequence
    query_starts_ptr,  # int32 [sequences + 1]
    kv_lengths_ptr,  # int32 [sequences]
    scale,  # of scores in powers of two; positive
    sequences,
    q_token_stride,
    q_head_stride,
    out_token_stride,
    out_head_stride,
    place_stride,
    KV_HEADS: tl.constexpr,
    GROUP: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    PAGE: tl.constexpr,  # tokens of a block; 0: sequences are contiguous
    WINDOW: tl.constexpr,  # keys that a query sees; 0: all up to its own
    DECODE: tl.constexpr,  # one query a sequence
    SEGMENTS: tl.constexpr,  # programs that share the keys of one sequence
    BLOCK_M: tl.constexpr,  # rows, at least GROUP
    TILE: tl.constexpr,  # keys a turn
    D: tl.constexpr,  # HEAD_DIM, padded to a power of two
    INTERPRETED: tl.constexpr,
    ASSEMBLY: tl.constexpr,  # of words: widen them by inline PTX
):
    """One block of queries of one sequence and KV head; with SEGMENTS, over a part of the keys."""
    BLOCK_Q: tl.constexpr = BLOCK_M // GROUP
    kv_head = tl.program_id(1)
    if DECODE:
        sequence = tl.program_id(0)
        start = sequence
        query_length = 1
        first = 0
    else:
        # Blocks further back in a sequence see more keys: they go first.
        block = tl.num_programs(0) - 1 - tl.program_id(0)
        sequence = _sequence_of(block, query_starts_ptr, sequences, BLOCK_Q)
        start = tl.load(query_starts_ptr + sequence)
        query_length = tl.load(query_starts_ptr + sequence + 1) - start
        first = (block - (start // BLOCK_Q + sequence)) * BLOCK_Q
        if first >= query_length:
            return
    past = tl.load(kv_lengths_ptr + sequence) - query_length
    # One past the last key that any query of the block sees.
    stop = past + tl.minimum(first + BLOCK_Q, query_length)
    tile, end = _tiles(past + first, stop, WINDOW, TILE)
    if SEGMENTS > 1:
        segment = tl.program_id(2)
        share = tl.cdiv(end - tile, SEGMENTS)
        tile += segment * share
        end = tl.minimum(end, tile + share)
        if tile >= end:
            return

    row = tl.arange(0, BLOCK_M)
    d = tl.arange(0, D)
    query = first + row // GROUP
    head = kv_head * GROUP + row % GROUP
    in_block = (row < BLOCK_Q * GROUP) & (query < query_length)
    inside = in_block[:, None] & (d[None, :] < HEAD_DIM)
    token = (start + query).to(tl.int64)
    q_row = q_ptr + token[:, None] * q_token_stride + head[:, None] * q_head_stride
    position = past + query
    place = place_ptr + sequence.to(tl.int64) * place_stride
    # Tiles that every query of the block sees whole need no mask.
    whole = (past + first + 1) // TILE
    ALL_MASKED: tl.constexpr = DECODE or WINDOW > 0
    if k_ptr.dtype.element_ty == tl.int16:
        acc, peak, total = attend_words(
            *(q_row, in_block, position, tile, whole, end, stop, kv_head, scale),
            *(k_ptr, v_ptr, k_scale_ptr, v_scale_ptr, place),
            *(KV_HEADS, HEAD_DIM, PAGE, WINDOW, TILE, D, ALL_MASKED, INTERPRETED, ASSEMBLY),
        )
    else:
        acc, peak, total = attend(
            *(q_row, in_block, position, tile, whole, end, stop, kv_head, scale),
            *(k_ptr, v_ptr, k_scale_ptr, v_scale_ptr, place),
            *(KV_HEADS, HEAD_DIM, PAGE, WINDOW, TILE, D, ALL_MASKED, INTERPRETED),
        )

    if SEGMENTS > 1:
        at = (sequence * KV_HEADS * GROUP + head).to(tl.int64) * SEGMENTS + segment
        tl.store(peak_ptr + at, peak, mask=in_block)
        tl.store(total_ptr + at, total, mask=in_block)
        tl.store(part_ptr + at[:, None] * HEAD_DIM + d[None, :], acc, mask=inside)
    else:
        result = _normalized(acc, total[:, None])
        out_at = token[:, None] * out_token_stride + head[:, None] * out_head_stride + d[None, :]
        dtype: tl.constexpr = out_ptr.dtype.element_ty
        tl.store(out_ptr + out_at, narrowed(result, dtype, INTERPRETED), mask=inside)


@triton.jit(do_not_specialize=["kv_lengths_ptr"])
def reduce_segments_kernel(
    part_ptr,  # as attention_kernel left them
    peak_ptr,
    total_ptr,
    out_ptr,  # [sequences, HEADS, HEAD_DIM]
    kv_lengths_ptr,
    out_token_stride,
    out_head_stride,
    HEADS: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    WINDOW: tl.constexpr,
    SEGMENTS: tl.constexpr,
    TILE: tl.constexpr,
    D: tl.constexpr,
    INTERPRETED: tl.constexpr,
):
    """The segments of one sequence and head, added in one order. Empty ones were not written."""
    sequence = tl.program_id(0)
    head = tl.program_id(1)
    kv_length = tl.load(kv_lengths_ptr + sequence)
    tile, end = _tiles(kv_length - 1, kv_length, WINDOW, TILE)
    share = tl.cdiv(end - tile, SEGMENTS)
    segment = tl.arange(0, SEGMENTS)
    d = tl.arange(0, D)
    written = segment * share < end - tile
    at = (sequence * HEADS + head).to(tl.int64) * SEGMENTS + segment
    peaks = tl.load(peak_ptr + at, mask=written, other=LEAST)
    totals = tl.load(total_ptr + at, mask=written, other=0.0)
    inside = written[:, None] & (d[None, :] < HEAD_DIM)
    parts = tl.load(part_ptr + at[:, None] * HEAD_DIM + d[None, :], mask=inside, other=0.0)
    weights = tl.exp2(peaks - tl.max(peaks, axis=0))
    total = tl.sum(totals * weights, axis=0)
    result = _normalized(tl.sum(parts * weights[:, None], axis=0), total)
    out_at = sequence.to(tl.int64) * out_token_stride + head * out_head_stride + d
    dtype: tl.constexpr = out_ptr.dtype.element_ty
    tl.store(out_ptr + out_at, narrowed(result, dtype, INTERPRETED), mask=d < HEAD_DIM)


@triton.jit
def _sequence_of(block, query_starts_ptr, sequences, BLOCK_Q: tl.constexpr):
    """The last sequence i whose first block, query_starts[i] // BLOCK_Q + i, is not past `block`.

    Counted so, every sequence has room for its blocks, and the count needs nothing but its start.
    """
    low = 0
    high = sequences
    while high - low > 1:
        middle = (low + high) // 2
        if tl.load(query_starts_ptr + middle) // BLOCK_Q + middle <= block:
            low = middle
        else:
            high = middle
    return low


@triton.jit
def _tiles(position, stop, WINDOW: tl.constexpr, TILE: tl.constexpr):
    """The first tile that a query at `position` sees, and one past that which holds stop - 1."""
    tile = 0
    if WINDOW > 0:
        tile = tl.maximum(position - WINDOW + 1, 0) // TILE
    return tile, tl.cdiv(stop, TILE)


@triton.jit
def _normalized(acc, total):
    """The weighted mean; 0 where there was nothing to see. NaN stays."""
    return acc / tl.where(total == 0.0, 1.0, total)
