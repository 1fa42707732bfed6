"""Tiles of keys into the running softmax, of a cache that holds numbers or int8 codes, and what
`attention_words.py` does the same way; importing this imports Triton.

Softmax is the running one of Milakov and Gimelshein, "Online normalizer calculation for softmax",
2018, in powers of two; tiles, as in Dao, "FlashAttention-2", 2023, algorithm 1.
"""
# ruff: noqa: N803, N806 -- sizes and compile-time constants are upper case in Triton's code
# To a type checker, a jit function that is called from Python never returns.
# pyright: reportGeneralTypeIssues=false

from __future__ import annotations

import triton
import triton.language as tl

# Below any score, and not infinite: the difference of two of them is 0 and not NaN.
LEAST = tl.constexpr(-1e38)


@triton.jit
def queries(q_at, inside, INTERPRETED: tl.constexpr):
    """0 for what is not inside; widened where the interpreter's dot is wrong, in bfloat16."""
    q = tl.load(q_at, mask=inside, other=0.0)
    if INTERPRETED and q.dtype == tl.bfloat16:
        q = q.to(tl.float32)
    return q


@triton.jit
def places_of(key, seen, kv_head, place, KV_HEADS: tl.constexpr, PAGE: tl.constexpr):
    """Slots times heads: which of the cache's rows, and of its scales, keys have."""
    if PAGE > 0:
        block = tl.load(place + key // PAGE, mask=seen, other=0)
        slot = block.to(tl.int64) * PAGE + key % PAGE
    else:
        slot = tl.load(place) + key
    return slot * KV_HEADS + kv_head


@triton.jit
def softmax_step(
    scores, peak, total, key, seen, position, scale, WINDOW: tl.constexpr, MASKED: tl.constexpr
):
    """Of a tile's scores, without their scale: weights, what earlier sums shrink by, and the new
    peak and total."""
    if MASKED:
        visible = (key[None, :] <= position[:, None]) & seen[None, :]
        if WINDOW > 0:
            visible &= key[None, :] > position[:, None] - WINDOW
        scores = tl.where(visible, scores, float("-inf"))
    new_peak = tl.maximum(peak, tl.max(scores, axis=1) * scale)
    # One multiply-add an element, and the scale of softmax is free.
    weights = tl.exp2(scores * scale - new_peak[:, None])
    shrink = tl.exp2(peak - new_peak)
    return weights, shrink, new_peak, total * shrink + tl.sum(weights, axis=1)


@triton.jit
def attend(
    q_row,
    in_block,
    position,
    tile,
    whole,
    end,
    stop,
    kv_head,
    scale,
    k_ptr,
    v_ptr,
    k_scale_ptr,
    v_scale_ptr,
    place,
    KV_HEADS: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    PAGE: tl.constexpr,
    WINDOW: tl.constexpr,
    TILE: tl.constexpr,
    D: tl.constexpr,
    ALL_MASKED: tl.constexpr,
    INTERPRETED: tl.constexpr,
):
    """Tiles `tile` to `end`, of which those before `whole` need no mask, unless ALL_MASKED: sums
    [BLOCK_M, D], peaks and totals [BLOCK_M], all float32."""
    BLOCK_M: tl.constexpr = in_block.shape[0]
    d = tl.arange(0, D)
    q = queries(q_row + d[None, :], in_block[:, None] & (d[None, :] < HEAD_DIM), INTERPRETED)
    total = tl.zeros((BLOCK_M,), dtype=tl.float32)
    peak = total + LEAST
    acc = tl.zeros((BLOCK_M, D), dtype=tl.float32)
    if not ALL_MASKED:
        acc, peak, total = _attend(
            *(acc, peak, total, q, position, tile, whole, stop, kv_head, scale),
            *(k_ptr, v_ptr, k_scale_ptr, v_scale_ptr, place),
            *(KV_HEADS, HEAD_DIM, PAGE, WINDOW, TILE, D, False, INTERPRETED),
        )
        tile = whole
    return _attend(
        *(acc, peak, total, q, position, tile, end, stop, kv_head, scale),
        *(k_ptr, v_ptr, k_scale_ptr, v_scale_ptr, place),
        *(KV_HEADS, HEAD_DIM, PAGE, WINDOW, TILE, D, True, INTERPRETED),
    )


@triton.jit
def _attend(
    acc,
    peak,
    total,
    q,
    position,
    tile,
    end,
    stop,
    kv_head,
    scale,
    k_ptr,
    v_ptr,
    k_scale_ptr,
    v_scale_ptr,
    place,
    KV_HEADS: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    PAGE: tl.constexpr,
    WINDOW: tl.constexpr,
    TILE: tl.constexpr,
    D: tl.constexpr,
    MASKED: tl.constexpr,
    INTERPRETED: tl.constexpr,
):
    """Tiles of keys from `tile` up to `end`, into the running softmax."""
    if INTERPRETED:  # the interpreter of Triton 3.6 takes no tensor as the bound of a range
        while tile < end:
            acc, peak, total = _attend_tile(
                *(acc, peak, total, q, position, tile, stop, kv_head, scale),
                *(k_ptr, v_ptr, k_scale_ptr, v_scale_ptr, place),
                *(KV_HEADS, HEAD_DIM, PAGE, WINDOW, TILE, D, MASKED),
            )
            tile += 1
    else:
        for turn in range(tile, end):
            acc, peak, total = _attend_tile(
                *(acc, peak, total, q, position, turn, stop, kv_head, scale),
                *(k_ptr, v_ptr, k_scale_ptr, v_scale_ptr, place),
                *(KV_HEADS, HEAD_DIM, PAGE, WINDOW, TILE, D, MASKED),
            )
    return acc, peak, total


@triton.jit
def _attend_tile(
    acc,
    peak,
    total,
    q,
    position,
    tile,
    stop,
    kv_head,
    scale,
    k_ptr,
    v_ptr,
    k_scale_ptr,
    v_scale_ptr,
    place,
    KV_HEADS: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    PAGE: tl.constexpr,
    WINDOW: tl.constexpr,
    TILE: tl.constexpr,
    D: tl.constexpr,
    MASKED: tl.constexpr,
):
    """acc [BLOCK_M, D], peak and total [BLOCK_M], with the keys of one tile."""
    key = tile * TILE + tl.arange(0, TILE)
    d = tl.arange(0, D)
    # What is true of all elements is folded away.
    seen = tl.full((TILE,), True, dtype=tl.int1)
    if MASKED:
        seen = key < stop
    inside = tl.broadcast_to(seen[:, None], (TILE, D))
    if D != HEAD_DIM:
        inside &= d[None, :] < HEAD_DIM
    at = places_of(key, seen, kv_head, place, KV_HEADS, PAGE)
    element = at[:, None] * HEAD_DIM + d[None, :]

    keys = tl.load(k_ptr + element, mask=inside, other=0.0).to(q.dtype)
    scores = tl.dot(q, tl.trans(keys), input_precision="ieee")
    if k_scale_ptr is not None:
        scores *= _scales(k_scale_ptr, at, seen)[None, :]
    weights, shrink, peak, total = softmax_step(
        scores, peak, total, key, seen, position, scale, WINDOW, MASKED
    )
    acc *= shrink[:, None]

    values = tl.load(v_ptr + element, mask=inside, other=0.0).to(q.dtype)
    if v_scale_ptr is None:
        acc = tl.dot(weights.to(q.dtype), values, acc, input_precision="ieee")
    else:
        weights, largest = scaled(weights, _scales(v_scale_ptr, at, seen), q.dtype)
        if q.dtype == tl.float16:
            acc += tl.dot(weights, values, input_precision="ieee") * largest
        else:
            acc = tl.dot(weights, values, acc, input_precision="ieee")
    return acc, peak, total


@triton.jit
def scaled(weights, scales, dtype: tl.constexpr):
    """Weights times values' scales, in dtype, and what float16 leaves to make good: a weight times
    a small scale is below what it has, so the largest is kept apart. 1 otherwise."""
    largest = 1.0
    if dtype == tl.float16:
        largest = tl.maximum(tl.max(scales, axis=0), 1e-30)
        scales /= largest
    return (weights * scales[None, :]).to(dtype), largest


@triton.jit
def _scales(scale_ptr, at, seen):
    """float32; 0 for what is not seen."""
    return tl.load(scale_ptr + at, mask=seen, other=0.0).to(tl.float32)
