"""Products of 4-bit codes with bytes; importing this imports Triton.

A byte holds an input of two halves of a block, each of which feeds a dot of its own and may be of
another group: so groups of no more than a half waste nothing.
"""
# ruff: noqa: N803 -- sizes and compile-time constants are upper case in Triton's code

from __future__ import annotations

import triton
import triton.language as tl

from .splits_kernel import store_product


@triton.jit
def half_product(
    codes, half, j, x_ptr, x_scale_ptr, scale_ptr, zero_ptr, m, n, in_m, in_n, N,
    GROUPS: tl.constexpr, GROUP: tl.constexpr, HALVES: tl.constexpr, HALF: tl.constexpr,
):  # fmt: skip
    """x times one half of a block, codes [HALF, BLOCK_N], scaled: float32. half: its number, of
    HALVES a group; beyond the last group nothing is read."""
    group = half // HALVES
    within = (half % HALVES) * HALF + j
    inside = group < GROUPS
    # What is beyond a group is 0 in x and so adds nothing.
    in_x = in_m & ((within < GROUP) & inside)[None, :]
    x = tl.load(
        x_ptr + m * (GROUPS * GROUP) + (group * GROUP + within)[None, :], mask=in_x, other=0
    )
    zero = tl.load(zero_ptr + group * N + n, mask=in_n & inside, other=0).to(tl.int8)
    # A code less its zero lies in -15..15.
    part = tl.dot(x, codes.to(tl.int8) - zero, out_dtype=tl.int32)
    scale = tl.load(scale_ptr + group * N + n, mask=in_n & inside, other=0.0).to(tl.float32)
    x_scale = tl.load(x_scale_ptr + m * GROUPS + group, mask=in_m & inside, other=0.0)
    return part.to(tl.float32) * x_scale * scale


@triton.jit(do_not_specialize=["M"])
def w4a8_kernel(
    x_ptr,  # int8 [M, GROUPS * GROUP], contiguous
    x_scale_ptr,  # float32 [M, GROUPS]
    weight_ptr,  # uint8 [BLOCKS * HALF, N]: row b * HALF + j holds input j of halves 2b and 2b + 1
    scale_ptr,  # [GROUPS, N]
    zero_ptr,  # uint8 [GROUPS, N]
    bias_ptr,  # [N] or None
    out_ptr,  # [M, N], or float32 [SPLITS, M, N]
    M,
    N,
    GROUPS: tl.constexpr,
    GROUP: tl.constexpr,  # inputs that share a scale and zero
    HALVES: tl.constexpr,  # that a group lies in, the last maybe not full
    HALF: tl.constexpr,
    BLOCKS: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    SPLITS: tl.constexpr,
):
    """With one split finished; otherwise split s holds the sum of blocks s, s + SPLITS, …, which
    `add_splits_kernel` finishes."""
    m = (tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)).to(tl.int64)[:, None]
    n = (tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N))[None, :]
    split = tl.program_id(2)
    j = tl.arange(0, HALF)
    in_m = m < M
    in_n = n < N
    total = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    # The count is a constant: the interpreter cannot loop over bounds that are tensors.
    for turn in range(tl.cdiv(BLOCKS, SPLITS)):
        block = split + turn * SPLITS
        at = (block * HALF + j).to(tl.int64)[:, None] * N + n
        both = tl.load(weight_ptr + at, mask=in_n & (block < BLOCKS), other=0)
        total += half_product(
            both & 15, 2 * block, j, x_ptr, x_scale_ptr, scale_ptr, zero_ptr, m, n, in_m, in_n, N,
            GROUPS, GROUP, HALVES, HALF,
        )  # fmt: skip
        total += half_product(
            both >> 4, 2 * block + 1, j, x_ptr, x_scale_ptr, scale_ptr, zero_ptr, m, n, in_m, in_n,
            N, GROUPS, GROUP, HALVES, HALF,
        )  # fmt: skip

    store_product(out_ptr, total, None, None, bias_ptr, m, n, M, N, split, SPLITS)
