"""Products with 8-bit integer weights in groups; importing this imports Triton.

Codes lie as they came, a row's inputs side by side: a product then reads them from shared memory
in words, not bytes, and nothing is packed anew. They become floats on the way to the product.
"""
# ruff: noqa: N803, N806 -- sizes and compile-time constants are upper case in Triton's code

from __future__ import annotations

import triton
import triton.language as tl

from .nibbles_kernel import integer
from .splits_kernel import store_product


@triton.jit
def centred(code, FLOAT: tl.constexpr):
    """code - 128, exactly, of bytes. By the bits in float16, for which the device's conversion is
    an instruction a number; the others have a quicker one."""
    if tl.float16 == FLOAT:
        number = integer(code, FLOAT) - 1152.0  # 2^10 + 128
    else:
        number = (code ^ 0x80).to(tl.int8, bitcast=True).to(FLOAT)
    return number


@triton.jit(do_not_specialize=["M"])
def w8a16_kernel(
    x_ptr,  # [M, K], rows x_stride apart
    x_stride,
    code_ptr,  # uint8 [N, K]
    scale_ptr,  # [K / GROUP, N]
    zero_ptr,  # uint8 [K / GROUP, N]; None: all 128
    bias_ptr,  # [N] or None
    out_ptr,  # [M, N], or float32 [SPLITS, M, N]
    M,
    N,
    K: tl.constexpr,
    GROUP: tl.constexpr,  # inputs that share a scale and a zero point
    PER_GROUP: tl.constexpr,  # blocks that a group lies in, the last maybe not full
    BLOCKS: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    SPLITS: tl.constexpr,
    WIDEN: tl.constexpr,  # compute in float32: the interpreter has no bfloat16 arithmetic
):
    """out = x · Wᵀ. With one split finished; otherwise split s holds the sum of blocks s,
    s + SPLITS, …, which `add_splits_kernel` finishes: scaled already where there are groups."""
    m = (tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)).to(tl.int64)[:, None]
    n = (tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N))[None, :]
    split = tl.program_id(2)
    j = tl.arange(0, BLOCK_K)
    row_at = code_ptr + n.to(tl.int64) * K
    in_m = m < M
    in_n = n < N
    FLOAT: tl.constexpr = tl.float32 if WIDEN else x_ptr.dtype.element_ty  # type: ignore[assignment]
    total = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    # The count is a constant: the interpreter cannot loop over bounds that are tensors.
    for turn in range(tl.cdiv(BLOCKS, SPLITS)):
        block = split + turn * SPLITS
        group = block // PER_GROUP
        within = (block % PER_GROUP) * BLOCK_K + j
        k = group * GROUP + within
        # What is beyond a group, or the last block, is 0 in x and so adds nothing.
        inside = (within < GROUP) & (block < BLOCKS)
        x = tl.load(x_ptr + m * x_stride + k[None, :], mask=in_m & inside[None, :], other=0.0)
        code = tl.load(row_at + k[:, None], mask=in_n & inside[:, None], other=0)
        w = centred(code, FLOAT)
        in_group = in_n & (block < BLOCKS)
        if zero_ptr is not None:
            # -255..255: exact in every dtype, so the scale can wait for the sum.
            zero = tl.load(zero_ptr + group * N + n, mask=in_group, other=0)
            w -= centred(zero, FLOAT)
        if GROUP == K:
            total = tl.dot(x.to(FLOAT), w, total, input_precision="ieee")
        else:
            scale = tl.load(scale_ptr + group * N + n, mask=in_group, other=0.0).to(tl.float32)
            total += tl.dot(x.to(FLOAT), w, input_precision="ieee") * scale

    row_scale_ptr = scale_ptr if GROUP == K else None
    store_product(out_ptr, total, None, row_scale_ptr, bias_ptr, m, n, M, N, split, SPLITS)


@triton.jit
def widen_kernel(
    code_ptr,
    scale_ptr,
    zero_ptr,
    out_ptr,  # [N, K]
    N,
    K: tl.constexpr,
    GROUP: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """W in the dtype of `out`; the arguments are those of `w8a16_kernel`."""
    n = (tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N))[:, None]
    k = (tl.program_id(1) * BLOCK_K + tl.arange(0, BLOCK_K))[None, :]
    inside = (n < N) & (k < K)
    at = n.to(tl.int64) * K + k
    w = centred(tl.load(code_ptr + at, mask=inside, other=0), tl.float32)
    shared_at = (k // GROUP) * N + n
    if zero_ptr is not None:
        w -= centred(tl.load(zero_ptr + shared_at, mask=inside, other=0), tl.float32)
    w *= tl.load(scale_ptr + shared_at, mask=inside, other=0.0).to(tl.float32)
    tl.store(out_ptr + at, w.to(out_ptr.dtype.element_ty), mask=inside)
