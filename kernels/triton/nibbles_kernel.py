"""Products with 4-bit weights, integers or e2m1 floats; importing this imports Triton.

A byte holds weights k and k + BLOCK_K / 2, so each half of a block feeds one dot and nothing is
interleaved. Codes become floats by their bits alone: no conversion instruction, which is what
binds a kernel that reads half a byte a weight.
"""
# ruff: noqa: N803, N806 -- sizes and compile-time constants are upper case in Triton's code

from __future__ import annotations

import triton
import triton.language as tl

from .codes_kernel import e4m3_to_float16
from .splits_kernel import store_product


@triton.jit
def integer(code, FLOAT: tl.constexpr):
    """2^10 + code in float16, 2^7 + code in bfloat16, 2^23 + code in float32, exactly: in these
    binades a step is 1, so the code is the lowest bits."""
    if tl.float16 == FLOAT:
        number = (code.to(tl.int16) | 0x6400).to(tl.float16, bitcast=True)
    elif tl.bfloat16 == FLOAT:
        number = (code.to(tl.int16) | 0x4300).to(tl.bfloat16, bitcast=True)
    else:
        number = (code.to(tl.int32) | 0x4B000000).to(tl.float32, bitcast=True)
    return number


@triton.jit
def e2m1(code, FLOAT: tl.constexpr):
    """A sign and {0, .5, 1, 1.5, 2, 3, 4, 6}: exponent and upper mantissa bit of the wider float,
    its bias added, except for 0 and 0.5, e2m1's subnormals."""
    size = code & 7
    if tl.float16 == FLOAT:
        wide = size.to(tl.int16)
        bits = tl.where(wide >= 2, (wide << 9) + 0x3800, wide * 0x3800)
        number = (bits | ((code & 8).to(tl.int16) << 12)).to(tl.float16, bitcast=True)
    elif tl.bfloat16 == FLOAT:
        wide = size.to(tl.int16)
        bits = tl.where(wide >= 2, (wide << 6) + 0x3F00, wide * 0x3F00)
        number = (bits | ((code & 8).to(tl.int16) << 12)).to(tl.bfloat16, bitcast=True)
    else:
        wide = size.to(tl.int32)
        bits = tl.where(wide >= 2, (wide << 22) + 0x3F000000, wide * 0x3F000000)
        number = (bits | ((code & 8).to(tl.int32) << 28)).to(tl.float32, bitcast=True)
    return number


@triton.jit
def block_scales(
    scale_ptr, first, n, in_n, N,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, SHARE: tl.constexpr, E8M0: tl.constexpr,
    FLOAT: tl.constexpr,
):  # fmt: skip
    """Scales of weights first … first + ROWS of columns n, [ROWS, COLUMNS]; SHARE weights have
    one, an e4m3 number or 2^(byte - 127)."""
    at = first // SHARE + tl.arange(0, ROWS // SHARE)
    byte = tl.load(scale_ptr + at[:, None].to(tl.int64) * N + n, mask=in_n, other=0)
    if E8M0:
        scale = (byte.to(tl.int32) << 23).to(tl.float32, bitcast=True).to(FLOAT)
    else:
        scale = e4m3_to_float16(byte).to(FLOAT)
    spread = tl.broadcast_to(scale[:, None, :], (ROWS // SHARE, SHARE, COLUMNS))
    return tl.reshape(spread, (ROWS, COLUMNS))


@triton.jit(do_not_specialize=["M"])
def nibbles_kernel(
    x_ptr,  # [M, K], rows x_stride apart
    x_stride,
    weight_ptr,  # uint8 [BLOCKS * HALF, N]: row b * HALF + j holds block b's j (low) and HALF + j
    scale_ptr,  # int4: [GROUPS, N]; e2m1: uint8 [BLOCKS * BLOCK_K / SHARE, N]
    zero_ptr,  # int4: uint8 [GROUPS, N]; e2m1: None
    row_scale_ptr,  # e2m1: float32 [N]; int4: None
    bias_ptr,  # [N] or None
    out_ptr,  # [M, N], or float32 [SPLITS, M, N]
    M,
    N,
    GROUP: tl.constexpr,  # inputs that share a scale and zero; e2m1: K
    PER_GROUP: tl.constexpr,  # blocks that a group lies in, the last maybe not full
    BLOCKS: tl.constexpr,
    SHARE: tl.constexpr,  # e2m1: weights that share a scale; 0: int4
    E8M0: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    SPLITS: tl.constexpr,
    WIDEN: tl.constexpr,  # compute in float32: the interpreter has no bfloat16 arithmetic
):
    """out = x · Wᵀ. With one split finished; otherwise split s holds the sum of blocks s,
    s + SPLITS, …, which `add_splits_kernel` finishes."""
    HALF: tl.constexpr = BLOCK_K // 2
    m = (tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)).to(tl.int64)[:, None]
    n = (tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N))[None, :]
    split = tl.program_id(2)
    j = tl.arange(0, HALF)
    in_m = m < M
    in_n = n < N
    FLOAT: tl.constexpr = tl.float32 if WIDEN else x_ptr.dtype.element_ty  # type: ignore[assignment]
    total = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    # The count is a constant: the interpreter cannot loop over bounds that are tensors.
    for turn in range(tl.cdiv(BLOCKS, SPLITS)):
        block = split + turn * SPLITS
        group = block // PER_GROUP
        within = (block % PER_GROUP) * BLOCK_K + j
        # What is beyond a group, or the last block, is 0 in x and so adds nothing.
        in_low = in_m & ((within < GROUP) & (block < BLOCKS))[None, :]
        in_high = in_m & ((within + HALF < GROUP) & (block < BLOCKS))[None, :]
        x_at = x_ptr + m * x_stride + (group * GROUP + within)[None, :]
        x_low = tl.load(x_at, mask=in_low, other=0.0).to(FLOAT)
        x_high = tl.load(x_at + HALF, mask=in_high, other=0.0).to(FLOAT)
        inside = in_n & (block < BLOCKS)
        at = (block * HALF + j).to(tl.int64)[:, None] * N + n
        both = tl.load(weight_ptr + at, mask=inside, other=0)
        if SHARE:
            low = e2m1(both & 15, FLOAT) * block_scales(
                scale_ptr, block * BLOCK_K, n, inside, N, HALF, BLOCK_N, SHARE, E8M0, FLOAT
            )
            high = e2m1(both >> 4, FLOAT) * block_scales(
                scale_ptr, block * BLOCK_K + HALF, n, inside, N, HALF, BLOCK_N, SHARE, E8M0, FLOAT
            )
            total = tl.dot(x_low, low, total, input_precision="ieee")
            total = tl.dot(x_high, high, total, input_precision="ieee")
        else:
            scale = tl.load(scale_ptr + group * N + n, mask=inside, other=0.0).to(tl.float32)
            zero = integer(tl.load(zero_ptr + group * N + n, mask=inside, other=0), FLOAT)
            # q - zero lies in -15..15: exact, so the scale can wait for the sum.
            part = tl.dot(x_low, integer(both & 15, FLOAT) - zero, input_precision="ieee")
            part = tl.dot(x_high, integer(both >> 4, FLOAT) - zero, part, input_precision="ieee")
            total += part * scale

    store_product(out_ptr, total, None, row_scale_ptr, bias_ptr, m, n, M, N, split, SPLITS)


@triton.jit
def widen_kernel(
    weight_ptr,
    scale_ptr,
    zero_ptr,
    row_scale_ptr,
    out_ptr,  # [K, N]
    N,
    GROUP: tl.constexpr,
    PER_GROUP: tl.constexpr,
    SHARE: tl.constexpr,
    E8M0: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """Wᵀ in the dtype of `out`; the arguments are those of `nibbles_kernel`."""
    HALF: tl.constexpr = BLOCK_K // 2
    block = tl.program_id(0)
    n = (tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N))[None, :]
    in_n = n < N
    j = tl.arange(0, HALF)
    group = block // PER_GROUP
    within = (block % PER_GROUP) * BLOCK_K + j
    at = (block * HALF + j).to(tl.int64)[:, None] * N + n
    both = tl.load(weight_ptr + at, mask=in_n, other=0)
    if SHARE:
        row = tl.load(row_scale_ptr + n, mask=in_n, other=0.0)
        first = block * BLOCK_K
        low = row * block_scales(
            scale_ptr, first, n, in_n, N, HALF, BLOCK_N, SHARE, E8M0, tl.float32
        )
        high = row * block_scales(
            scale_ptr, first + HALF, n, in_n, N, HALF, BLOCK_N, SHARE, E8M0, tl.float32
        )
        low *= e2m1(both & 15, tl.float32)
        high *= e2m1(both >> 4, tl.float32)
    else:
        scale = tl.load(scale_ptr + group * N + n, mask=in_n, other=0.0).to(tl.float32)
        zero = integer(tl.load(zero_ptr + group * N + n, mask=in_n, other=0), tl.float32)
        low = (integer(both & 15, tl.float32) - zero) * scale
        high = (integer(both >> 4, tl.float32) - zero) * scale
    k = (group * GROUP + within).to(tl.int64)[:, None]
    FLOAT: tl.constexpr = out_ptr.dtype.element_ty
    inside = in_n & (within < GROUP)[:, None]
    tl.store(out_ptr + k * N + n, low.to(FLOAT), mask=inside)
    inside = in_n & (within + HALF < GROUP)[:, None]
    tl.store(out_ptr + (k + HALF) * N + n, high.to(FLOAT), mask=inside)
