"""Products of 4-bit codes with bytes; importing this imports Triton."""
# ruff: noqa: N803, N806 -- sizes and compile-time constants are upper case in Triton's code

from __future__ import annotations

import triton
import triton.language as tl

from .splits_kernel import store_product


@triton.jit(do_not_specialize=["M"])
def w4a8_kernel(
    x_ptr,  # int8 [M, GROUPS * GROUP], contiguous
    x_scale_ptr,  # float32 [M, GROUPS]
    weight_ptr,  # uint8 [BLOCKS * HALF, N]: row b * HALF + j holds block b's j (low) and HALF + j
    scale_ptr,  # [GROUPS, N]
    zero_ptr,  # uint8 [GROUPS, N]
    bias_ptr,  # [N] or None
    out_ptr,  # [M, N], or float32 [SPLITS, M, N]
    M,
    N,
    GROUPS: tl.constexpr,
    GROUP: tl.constexpr,  # inputs that share a scale and zero
    PER_GROUP: tl.constexpr,  # blocks that a group lies in, the last maybe not full
    BLOCKS: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    SPLITS: tl.constexpr,
):
    """With one split finished; otherwise split s holds the sum of blocks s, s + SPLITS, …, which
    `add_splits_kernel` finishes."""
    HALF: tl.constexpr = BLOCK_K // 2
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
        group = block // PER_GROUP
        within = (block % PER_GROUP) * BLOCK_K + j
        # What is beyond a group, or the last block, is 0 in x and so adds nothing.
        in_low = in_m & ((within < GROUP) & (block < BLOCKS))[None, :]
        in_high = in_m & ((within + HALF < GROUP) & (block < BLOCKS))[None, :]
        x_at = x_ptr + m * (GROUPS * GROUP) + (group * GROUP + within)[None, :]
        x_low = tl.load(x_at, mask=in_low, other=0)
        x_high = tl.load(x_at + HALF, mask=in_high, other=0)
        inside = in_n & (block < BLOCKS)
        at = (block * HALF + j).to(tl.int64)[:, None] * N + n
        both = tl.load(weight_ptr + at, mask=inside, other=0)
        zero = tl.load(zero_ptr + group * N + n, mask=inside, other=0).to(tl.int8)
        # q - zero lies in -15..15.
        part = tl.dot(x_low, (both & 15).to(tl.int8) - zero, out_dtype=tl.int32)
        part = tl.dot(x_high, (both >> 4).to(tl.int8) - zero, part, out_dtype=tl.int32)
        scale = tl.load(scale_ptr + group * N + n, mask=inside, other=0.0).to(tl.float32)
        x_scale = tl.load(x_scale_ptr + m * GROUPS + group, mask=in_m & (block < BLOCKS), other=0.0)
        total += part.to(tl.float32) * x_scale * scale

    store_product(out_ptr, total, None, None, bias_ptr, m, n, M, N, split, SPLITS)
