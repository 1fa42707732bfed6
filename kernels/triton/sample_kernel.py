"""Sampling without a sort; importing this imports Triton. The host's side is `sample.py`.

A threshold is found by bisection over the bits of the scores, which order like the numbers: 32
passes over a row that lies in cache, each counting (top-k) or weighing (top-p) what is above.
Sort-free samplers are described by FlashInfer ("Sorting-Free GPU Kernels for LLM Sampling", 2025).
"""
# ruff: noqa: N803 -- sizes and compile-time constants are upper case in Triton's code

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def order_key(score):
    """float32 -> int32 that compares alike; `scores_at` has one zero only."""
    bits = score.to(tl.int32, bitcast=True)
    return tl.where(bits < 0, bits ^ 0x7FFFFFFF, bits)


@triton.jit
def scores_at(row_ptr, v, V, temperature):
    """Scores after temperature, minus infinity beyond the vocabulary."""
    logit = tl.load(row_ptr + v, mask=v < V, other=float("-inf")).to(tl.float32)
    return tl.math.div_rn(logit, tl.zeros_like(logit) + temperature) + 0.0


@triton.jit
def count_or_weight(
    row_ptr, key, least, largest, temperature, V, BLOCKS: tl.constexpr, BLOCK: tl.constexpr,
    WEIGHT: tl.constexpr,
):  # fmt: skip
    """How many scores have keys of at least `key` and `least`, or their exp(score - largest)."""
    total = 0.0
    for block in range(BLOCKS):
        score = scores_at(row_ptr, block * BLOCK + tl.arange(0, BLOCK), V, temperature)
        own = order_key(score)
        value = tl.exp(score - largest) if WEIGHT else tl.where(score > float("-inf"), 1.0, 0.0)
        total += tl.sum(tl.where((own >= key) & (own >= least), value, 0.0), 0)
    return total


@triton.jit
def greatest_key(
    row_ptr, wanted, least, largest, temperature, V, BLOCKS: tl.constexpr, BLOCK: tl.constexpr,
    WEIGHT: tl.constexpr,
):  # fmt: skip
    """The greatest key at and above which `wanted` are, or weigh; `least` where there is none."""
    one = tl.full((), 1, dtype=tl.int32)
    found = one << 31
    for bit in range(32):
        # Bit by bit from the top, as in an unsigned number, which is the key plus 2^31; the first
        # addition wraps to 0.
        trial = found ^ (one << (31 - bit))
        enough = count_or_weight(
            row_ptr, trial, least, largest, temperature, V, BLOCKS, BLOCK, WEIGHT
        )
        found = tl.where(enough >= wanted, trial, found)
    return tl.maximum(found, least)


# Rows of one tensor, of as many requests as a step samples for: where they begin changes from step
# to step, and must not compile anew.
_OF_THE_STEP = ["temperature_ptr", "top_k_ptr", "top_p_ptr", "min_p_ptr", "uniform_ptr"]


@triton.jit(do_not_specialize=_OF_THE_STEP)
def sample_kernel(
    logits_ptr,  # [R, V], rows `stride` apart
    stride,
    temperature_ptr,  # float32 [R]
    top_k_ptr,  # int32 [R] or None
    top_p_ptr,  # float32 [R] or None
    min_p_ptr,  # float32 [R] or None
    uniform_ptr,  # float32 [R]
    out_ptr,  # int64 [R]
    V,
    BLOCKS: tl.constexpr,  # ceil(V / BLOCK)
    BLOCK: tl.constexpr,
):
    """A row a program."""
    row = tl.program_id(0)
    row_ptr = logits_ptr + row.to(tl.int64) * stride
    asked = tl.load(temperature_ptr + row)
    temperature = tl.where(asked == 0.0, 1.0, asked)

    largest = float("-inf")
    first = V
    bad = 0
    for block in range(BLOCKS):
        v = block * BLOCK + tl.arange(0, BLOCK)
        score = scores_at(row_ptr, v, V, temperature)
        here = tl.max(score, 0)
        where = tl.min(tl.where(score == here, v, V), 0)
        first = tl.where(here > largest, where, first)
        largest = tl.maximum(largest, here)
        bad += tl.sum(((score != score) | (score == float("inf"))).to(tl.int32), 0)

    # What min-p, then top-k leave is all above one key; what top-p leaves, too, but for ties.
    least = order_key(tl.zeros((), dtype=tl.float32) + float("-inf"))
    if min_p_ptr is not None:
        min_p = tl.load(min_p_ptr + row)
        bound = tl.where(min_p > 0.0, largest + tl.log(min_p), float("-inf"))
        least = tl.maximum(least, order_key(tl.minimum(bound, largest)))
    if top_k_ptr is not None:
        k = tl.load(top_k_ptr + row)
        if k > 0:
            least = greatest_key(
                row_ptr, k.to(tl.float32), least, largest, temperature, V, BLOCKS, BLOCK, False
            )
    border = least
    ties = 2147483647  # how many of those at the border stay, the first of them
    if top_p_ptr is not None:
        top_p = tl.load(top_p_ptr + row)
        if top_p < 1.0:
            whole = count_or_weight(
                row_ptr, least, least, largest, temperature, V, BLOCKS, BLOCK, True
            )
            border = greatest_key(
                row_ptr, top_p * whole, least, largest, temperature, V, BLOCKS, BLOCK, True
            )
            above = count_or_weight(
                row_ptr, border + 1, least, largest, temperature, V, BLOCKS, BLOCK, True
            )
            bits = tl.where(border < 0, border ^ 0x7FFFFFFF, border)
            each = tl.exp(bits.to(tl.float32, bitcast=True) - largest)
            needed = tl.ceil((top_p * whole - above) / each)
            ties = tl.maximum(needed, 1.0).to(tl.int32)

    # The sum of what is left, then the place where the running sum exceeds its share.
    total = 0.0
    seen = 0
    for block in range(BLOCKS):
        score = scores_at(row_ptr, block * BLOCK + tl.arange(0, BLOCK), V, temperature)
        own = order_key(score)
        tied = (own == border).to(tl.int32)
        stays = (own > border) | ((own == border) & (seen + tl.cumsum(tied, 0) <= ties))
        total += tl.sum(tl.where(stays, tl.exp(score - largest), 0.0), 0)
        seen += tl.sum(tied, 0)
    target = tl.load(uniform_ptr + row) * total
    running = 0.0
    seen = 0
    found = V
    last = first
    for block in range(BLOCKS):
        v = block * BLOCK + tl.arange(0, BLOCK)
        score = scores_at(row_ptr, v, V, temperature)
        own = order_key(score)
        tied = (own == border).to(tl.int32)
        stays = (own > border) | ((own == border) & (seen + tl.cumsum(tied, 0) <= ties))
        weight = tl.where(stays, tl.exp(score - largest), 0.0)
        here = running + tl.cumsum(weight, 0)
        found = tl.minimum(found, tl.min(tl.where((here > target) & (weight > 0.0), v, V), 0))
        last = tl.maximum(last, tl.max(tl.where(weight > 0.0, v, 0), 0))
        running += tl.sum(weight, 0)
        seen += tl.sum(tied, 0)
    # Sums along a block and over blocks may round apart: then it is the last that may come.
    token = tl.where(found < V, found, last)
    token = tl.where(asked == 0.0, first, token)
    usable = (bad == 0) & (largest > float("-inf"))
    tl.store(out_ptr + row, tl.where(usable, token, -1).to(tl.int64))
