"""Sampling without a sort; importing this imports Triton. The host's side is `sample.py`.

A threshold is found digit by digit of the logits' bits, which order like the numbers: a pass over a
row, which lies in cache, counts (top-k) or weighs (top-p) what is at and above three numbers, which
decides two bits. Sums stay in registers, a lane's own until a pass ends. Sort-free samplers are
described by FlashInfer ("Sorting-Free GPU Kernels for LLM Sampling", 2025).
"""
# ruff: noqa: N803, N806 -- sizes and compile-time constants are upper case in Triton's code

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def logits_at(row_ptr, v, V):
    """Logits in float32, minus infinity beyond the vocabulary."""
    return tl.load(row_ptr + v, mask=v < V, other=float("-inf")).to(tl.float32)


@triton.jit
def weight(logit, largest, rate):
    """exp((logit - largest) / temperature), rate being log2(e) / temperature: no division, and
    equal logits alone are equal."""
    return tl.exp2((logit - largest) * rate)


@triton.jit
def number_of(key, DTYPE: tl.constexpr):
    """The float32 that an order key stands for: int32, of 16-bit numbers in the upper half. Keys
    beyond the infinities are NaN, which no logit is at or above."""
    bits = tl.where(key < 0, key ^ 0x7FFFFFFF, key)
    if tl.float16 == DTYPE:
        number = (bits >> 16).to(tl.int16).to(tl.float16, bitcast=True).to(tl.float32)
    elif tl.bfloat16 == DTYPE:
        number = (bits & -65536).to(tl.float32, bitcast=True)
    else:
        number = bits.to(tl.float32, bitcast=True)
    return number


@triton.jit
def likeliest(row_ptr, V, BLOCKS: tl.constexpr, BLOCK: tl.constexpr):
    """The largest logit, the first token that has it, and whether each is a number or minus
    infinity."""
    largest = tl.full((BLOCK,), float("-inf"), dtype=tl.float32)
    first = tl.zeros((BLOCK,), dtype=tl.int32)
    bad = tl.zeros((BLOCK,), dtype=tl.int32)
    for block in range(BLOCKS):
        v = block * BLOCK + tl.arange(0, BLOCK)
        logit = logits_at(row_ptr, v, V)
        first = tl.where(logit > largest, v, first)
        largest = tl.maximum(largest, logit)
        bad |= ((logit != logit) | (logit == float("inf"))).to(tl.int32)
    most = tl.max(largest, 0)
    where = tl.min(tl.where(largest == most, first, V), 0)
    return most, where, tl.max(bad, 0) == 0


@triton.jit
def mass(
    row_ptr, bound, largest, rate, V, BLOCKS: tl.constexpr, BLOCK: tl.constexpr,
    ABOVE: tl.constexpr,
):  # fmt: skip
    """The weight of all logits at and above `bound`; ABOVE: above it alone."""
    total = tl.zeros((BLOCK,), dtype=tl.float32)
    for block in range(BLOCKS):
        logit = logits_at(row_ptr, block * BLOCK + tl.arange(0, BLOCK), V)
        stays = logit > bound if ABOVE else logit >= bound
        total += tl.where(stays, weight(logit, largest, rate), 0.0)
    return tl.sum(total, 0)


@triton.jit
def threshold(
    row_ptr, wanted, least, largest, rate, V, BLOCKS: tl.constexpr, BLOCK: tl.constexpr,
    WEIGHT: tl.constexpr,
):  # fmt: skip
    """The greatest number of the logits' dtype such that those at and above it, and `least`, weigh
    `wanted`, or, without WEIGHT, are as many; `least` where there is none."""
    DTYPE: tl.constexpr = row_ptr.dtype.element_ty
    one = tl.full((), 1, dtype=tl.int32)
    found = one << 31
    for turn in range(DTYPE.primitive_bitwidth // 2):  # type: ignore[attr-defined]
        # Two bits a pass from the top, as in an unsigned number, which is the key plus 2^31.
        shift = 30 - 2 * turn
        low = number_of(found ^ (one << shift), DTYPE)
        middle = number_of(found ^ (one << (shift + 1)), DTYPE)
        high = number_of(found ^ (one << shift) ^ (one << (shift + 1)), DTYPE)
        from_low = tl.zeros((BLOCK,), dtype=tl.float32)
        from_middle = tl.zeros((BLOCK,), dtype=tl.float32)
        from_high = tl.zeros((BLOCK,), dtype=tl.float32)
        for block in range(BLOCKS):
            logit = logits_at(row_ptr, block * BLOCK + tl.arange(0, BLOCK), V)
            value = weight(logit, largest, rate) if WEIGHT else tl.full((BLOCK,), 1.0, tl.float32)
            value = tl.where(logit >= least, value, 0.0)
            from_low += tl.where(logit >= low, value, 0.0)
            from_middle += tl.where(logit >= middle, value, 0.0)
            from_high += tl.where(logit >= high, value, 0.0)
        # A number below minus infinity is NaN and has none above it, so the others count alone.
        digit = tl.where(tl.sum(from_low, 0) >= wanted, one, 0)
        digit = tl.where(tl.sum(from_middle, 0) >= wanted, 2, digit)
        digit = tl.where(tl.sum(from_high, 0) >= wanted, 3, digit)
        found ^= digit << shift
    number = number_of(found, DTYPE)
    return tl.where(number > least, number, least)


@triton.jit
def end_of_ties(row_ptr, border, ties, V, BLOCKS: tl.constexpr, BLOCK: tl.constexpr):
    """The token behind the first `ties` of those at the border, which is 1 or more; V where there
    are not as many."""
    seen = 0
    end = V
    for block in range(BLOCKS):
        v = block * BLOCK + tl.arange(0, BLOCK)
        tied = (logits_at(row_ptr, v, V) == border).to(tl.int32)
        here = tl.sum(tied, 0)
        if (seen < ties) & (seen + here >= ties):
            last = (tied == 1) & (seen + tl.cumsum(tied, 0) == ties)
            end = tl.min(tl.where(last, v + 1, V), 0)
        seen += here
    return end


@triton.jit
def staying(row_ptr, v, border, end, largest, rate, V):
    """Weights of tokens v: 0 below the border, and at it from token `end` on."""
    logit = logits_at(row_ptr, v, V)
    stays = (logit > border) | ((logit == border) & (v < end))
    return tl.where(stays, weight(logit, largest, rate), 0.0)


@triton.jit
def draw(
    row_ptr, uniform, border, end, largest, rate, V, BLOCKS: tl.constexpr, BLOCK: tl.constexpr,
    SUMS: tl.constexpr,
):  # fmt: skip
    """The token where the running sum of what stays exceeds its share: its block by the blocks'
    sums, then its place there."""
    index = tl.arange(0, SUMS)
    sums = tl.zeros((SUMS,), dtype=tl.float32)
    for block in range(BLOCKS):
        v = block * BLOCK + tl.arange(0, BLOCK)
        here = tl.sum(staying(row_ptr, v, border, end, largest, rate, V), 0)
        sums = tl.where(index == block, here, sums)
    running = tl.cumsum(sums, 0)
    target = uniform * tl.max(running, 0)
    chosen = tl.min(tl.where((running > target) & (sums > 0.0), index, SUMS), 0)
    before = tl.sum(tl.where(index == chosen - 1, running, 0.0), 0)
    v = chosen * BLOCK + tl.arange(0, BLOCK)
    weights = staying(row_ptr, v, border, end, largest, rate, V)
    exceeds = (before + tl.cumsum(weights, 0) > target) & (weights > 0.0)
    found = tl.min(tl.where(exceeds, v, V), 0)
    # Sums along a block and over blocks may round apart: then it is the last that may come.
    last = tl.max(tl.where(weights > 0.0, v, 0), 0)
    return tl.where(found < V, found, last)


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
    SUMS: tl.constexpr,  # a power of two that is not less than BLOCKS
):
    """A row a program."""
    row = tl.program_id(0)
    row_ptr = logits_ptr + row.to(tl.int64) * stride
    temperature = tl.load(temperature_ptr + row)
    largest, token, numbers = likeliest(row_ptr, V, BLOCKS, BLOCK)  # type: ignore[misc]
    if temperature > 0.0:
        # Finite, so that the largest weighs 1 at any temperature.
        rate = tl.minimum(1.4426950408889634 / temperature, 3.4028234663852886e38)
        # What min-p, then top-k leave is all above one number; so is top-p's, but for ties.
        border = float("-inf")
        if min_p_ptr is not None:
            min_p = tl.load(min_p_ptr + row)
            bound = tl.minimum(largest + temperature * tl.log(min_p), largest)
            border = tl.where(min_p > 0.0, bound, border)
        if top_k_ptr is not None:
            k = tl.load(top_k_ptr + row)
            if k > 0:
                border = threshold(
                    row_ptr, k.to(tl.float32), border, largest, rate, V, BLOCKS, BLOCK, False
                )
        end = V
        if top_p_ptr is not None:
            top_p = tl.load(top_p_ptr + row)
            if top_p < 1.0:
                wanted = top_p * mass(row_ptr, border, largest, rate, V, BLOCKS, BLOCK, False)
                border = threshold(row_ptr, wanted, border, largest, rate, V, BLOCKS, BLOCK, True)
                above = mass(row_ptr, border, largest, rate, V, BLOCKS, BLOCK, True)
                needed = tl.ceil((wanted - above) / weight(border, largest, rate))
                # Not more than there are, also where the weight at the border is 0.
                ties = tl.minimum(tl.maximum(needed, 1.0), 2147483520.0).to(tl.int32)
                end = end_of_ties(row_ptr, border, ties, V, BLOCKS, BLOCK)
        uniform = tl.load(uniform_ptr + row)
        token = draw(row_ptr, uniform, border, end, largest, rate, V, BLOCKS, BLOCK, SUMS)
    usable = numbers & (largest > float("-inf"))
    tl.store(out_ptr + row, tl.where(usable, token, -1).to(tl.int64))
