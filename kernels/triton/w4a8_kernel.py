"""Products of 4-bit codes with bytes; importing this imports Triton.

A byte holds an input of two halves of a block, each of which feeds a dot of its own and may be of
another group: so groups of no more than a half waste nothing. Where both are one group's, their
dots are one sum. Bytes lie along the inputs, four of which are a register of the tensor cores'.
"""
# ruff: noqa: N803, N806 -- sizes and compile-time constants are upper case in Triton's code

from __future__ import annotations

import triton
import triton.language as tl

from .splits_kernel import store_product

# Codes of four bytes less their zeros: bit 7 is lent to each byte, so that none borrows of another.
_LOW = "and.b32 $0, $1, 0x0F0F0F0F;"
_HIGH = "shr.u32 $0, $1, 4; and.b32 $0, $0, 0x0F0F0F0F;"
_LESS = "or.b32 $0, $0, 0x80808080; sub.u32 $0, $0, $2; xor.b32 $0, $0, 0x80808080;"
LOW = tl.constexpr(_LOW + _LESS)
HIGH = tl.constexpr(_HIGH + _LESS)


@triton.jit
def centred(both, zero, UPPER: tl.constexpr, ASSEMBLY: tl.constexpr):
    """The lower or UPPER codes of bytes, less `zero`: int8, -15 … 15. ASSEMBLY: four at once."""
    if not ASSEMBLY:
        code = ((both >> 4) if UPPER else (both & 15)).to(tl.int8) - zero.to(tl.int8)
    else:
        ASM: tl.constexpr = HIGH if UPPER else LOW
        code = tl.inline_asm_elementwise(ASM, "=&r,r,r", [both, zero], tl.int8, True, 4)  # type: ignore[arg-type]
    return code


@triton.jit
def scales_of(
    group, x_scale_ptr, grid_ptr, m, n, in_m, in_n, N, GROUPS: tl.constexpr
):  # fmt: skip
    """Of a group: the scales of x and of the weights as a product, float32, and the zero points."""
    inside = group < GROUPS
    # One load of four bytes: only such are begun turns ahead of where they are needed.
    word = tl.load(grid_ptr + group * N + n, mask=in_n & inside, other=0)
    x_scale = tl.load(x_scale_ptr + m * GROUPS + group, mask=in_m & inside, other=0.0)
    return x_scale * (word & -16).to(tl.float32, bitcast=True), (word & 15).to(tl.uint8)


@triton.jit
def half_product(
    both, zero, half, part, j, x_ptr, m, in_m,
    GROUPS: tl.constexpr, GROUP: tl.constexpr, HALVES: tl.constexpr, HALF: tl.constexpr,
    UPPER: tl.constexpr, ASSEMBLY: tl.constexpr,
):  # fmt: skip
    """part, int32, and x times one half of a block, the lower or UPPER codes of `both`
    [HALF, BLOCK_N]. half: its number, of HALVES a group; beyond the last group nothing is read."""
    group = half // HALVES
    within = (half % HALVES) * HALF + j
    # What is beyond a group is 0 in x and so adds nothing.
    in_x = in_m & ((within < GROUP) & (group < GROUPS))[None, :]
    x = tl.load(
        x_ptr + m * (GROUPS * GROUP) + (group * GROUP + within)[None, :], mask=in_x, other=0
    )
    return tl.dot(x, centred(both, zero, UPPER, ASSEMBLY), part, out_dtype=tl.int32)


@triton.jit(do_not_specialize=["M"])
def w4a8_kernel(
    x_ptr,  # int8 [M, GROUPS * GROUP], contiguous
    x_scale_ptr,  # float32 [M, GROUPS]
    weight_ptr,  # uint8 [N, BLOCKS * HALF]: b * HALF + j holds input j of halves 2b and 2b + 1
    grid_ptr,  # int32 [GROUPS, N]: scales and zero points, as `nibbles.grids` makes them
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
    ASSEMBLY: tl.constexpr,
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
        at = n.to(tl.int64) * (BLOCKS * HALF) + (block * HALF + j)[:, None]
        both = tl.load(weight_ptr + at, mask=in_n & (block < BLOCKS), other=0)
        scale, zero = scales_of(
            2 * block // HALVES, x_scale_ptr, grid_ptr, m, n, in_m, in_n, N, GROUPS
        )
        part = half_product(
            both, zero, 2 * block, tl.zeros((BLOCK_M, BLOCK_N), tl.int32), j, x_ptr, m, in_m,
            GROUPS, GROUP, HALVES, HALF, False, ASSEMBLY,
        )  # fmt: skip
        if HALVES % 2:  # the other half may be another group's
            total += part.to(tl.float32) * scale
            scale, zero = scales_of(
                (2 * block + 1) // HALVES, x_scale_ptr, grid_ptr, m, n, in_m, in_n, N, GROUPS
            )
            part = tl.zeros((BLOCK_M, BLOCK_N), tl.int32)
        part = half_product(
            both, zero, 2 * block + 1, part, j, x_ptr, m, in_m,
            GROUPS, GROUP, HALVES, HALF, True, ASSEMBLY,
        )  # fmt: skip
        total += part.to(tl.float32) * scale

    store_product(out_ptr, total, None, None, bias_ptr, m, n, M, N, split, SPLITS)
