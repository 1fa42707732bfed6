"""The product of eight-bit codes, int8 or e4m3; importing this imports Triton."""
# ruff: noqa: N803 -- sizes and compile-time constants are upper case in Triton's code

from __future__ import annotations

import triton
import triton.language as tl

from .conversions import e4m3_to_float16
from .splits_kernel import store_product


@triton.jit
def factor(byte, KIND: tl.constexpr):
    """Codes as what `dot` multiplies: int8, e4m3 itself, or float16 where it has no e4m3."""
    if KIND == "e4m3":
        byte = byte.to(tl.float8e4nv, bitcast=True)
    elif KIND == "float16":
        byte = e4m3_to_float16(byte)
    return byte


@triton.jit(do_not_specialize=["M"])
def codes_kernel(
    x_ptr,  # codes [M, K]
    x_scale_ptr,  # float32 [M], or [M, GROUPS] where COLUMNS
    w_ptr,  # codes [N, K]
    w_scale_ptr,  # float32 [N], or [ceil(N / ROWS), GROUPS] where COLUMNS
    bias_ptr,  # [N] or None
    out_ptr,  # [M, N], or float32 or int32 [SPLITS, M, N]
    M,
    N,
    K: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,  # of a block with a scale, a multiple of BLOCK_K; 0: a scale a row
    GROUPS: tl.constexpr,
    KIND: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    SPLITS: tl.constexpr,
):
    """out = x · Wᵀ, as W · xᵀ: Hopper's tensor cores take 64 rows of the first factor at once,
    which outputs fill and few tokens would not.

    With one split scaled, biased and rounded; otherwise split s holds the sum of K blocks s,
    s + SPLITS, …, which `add_splits_kernel` finishes."""
    m = (tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)).to(tl.int64)[None, :]
    n = (tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)).to(tl.int64)[:, None]
    split = tl.program_id(2)
    j = tl.arange(0, BLOCK_K)
    in_m = m < M
    in_n = n < N
    total = tl.zeros((BLOCK_N, BLOCK_M), dtype=tl.int32 if KIND == "int8" else tl.float32)
    # The count is a constant: the interpreter cannot loop over bounds that are tensors.
    for turn in range(tl.cdiv(tl.cdiv(K, BLOCK_K), SPLITS)):
        first = (split + turn * SPLITS) * BLOCK_K
        k = first + j
        x = tl.load(x_ptr + m * K + k[:, None], mask=in_m & (k[:, None] < K), other=0)
        w = tl.load(w_ptr + n * K + k[None, :], mask=in_n & (k[None, :] < K), other=0)
        if COLUMNS:
            group = tl.minimum(first // COLUMNS, GROUPS - 1)
            x_scale = tl.load(x_scale_ptr + m * GROUPS + group, mask=in_m, other=0.0)
            w_scale = tl.load(w_scale_ptr + (n // ROWS) * GROUPS + group, mask=in_n, other=0.0)
            part = tl.dot(factor(w, KIND), factor(x, KIND))
            # A split's last turn may lie beyond K, where a scale is another group's and x is 0.
            total += tl.where(first < K, part * (x_scale * w_scale), 0.0)
        elif KIND == "int8":
            total = tl.dot(w, x, total, out_dtype=tl.int32)
        else:
            # Added outside of the product: Hopper's e4m3 sums keep about 14 bits.
            total += tl.dot(factor(w, KIND), factor(x, KIND))

    if COLUMNS:
        store_product(out_ptr, total, None, None, bias_ptr, m, n, M, N, split, SPLITS)
    else:
        store_product(out_ptr, total, x_scale_ptr, w_scale_ptr, bias_ptr, m, n, M, N, split, SPLITS)
