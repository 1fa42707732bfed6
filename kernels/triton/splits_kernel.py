"""How a product ends: its parts added in a fixed order, scaled, biased, rounded once.

Few rows leave most of a device idle, so K is split over programs. Parts go to memory and are
added here: no atomics, so results repeat.
"""
# ruff: noqa: N803 -- sizes and compile-time constants are upper case in Triton's code

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def finish(total, x_scale_ptr, w_scale_ptr, bias_ptr, m, n, in_m, in_n):
    """total · x_scale[m] · w_scale[n] + bias[n] in float32; None leaves a step out."""
    y = total.to(tl.float32)
    if x_scale_ptr is not None:
        y *= tl.load(x_scale_ptr + m, mask=in_m, other=0.0)
    if w_scale_ptr is not None:
        y *= tl.load(w_scale_ptr + n, mask=in_n, other=0.0)
    if bias_ptr is not None:
        y += tl.load(bias_ptr + n, mask=in_n, other=0.0).to(tl.float32)
    return y


@triton.jit
def store_product(
    out_ptr, total, x_scale_ptr, w_scale_ptr, bias_ptr, m, n, M, N, split, SPLITS: tl.constexpr
):
    """A tile to `out` [M, N], finished; or, of several splits, as it is to that split's part."""
    in_m = m < M
    in_n = n < N
    if SPLITS == 1:
        y = finish(total, x_scale_ptr, w_scale_ptr, bias_ptr, m, n, in_m, in_n)
        tl.store(out_ptr + m * N + n, y.to(out_ptr.dtype.element_ty), mask=in_m & in_n)
    else:
        # Few programs are split (`tiles.split_count`): all parts together are some million numbers.
        tl.store(out_ptr + (split * M + m) * N + n, total, mask=in_m & in_n)


@triton.jit(do_not_specialize=["M"])
def add_splits_kernel(
    parts_ptr,  # float32 or int32 [SPLITS, M, N]
    out_ptr,  # [M, N]
    x_scale_ptr,  # float32 [M] or None
    w_scale_ptr,  # float32 [N] or None
    bias_ptr,  # [N] or None
    M,
    N,
    SPLITS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    n = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    m = tl.program_id(0) + tl.arange(0, 1)
    inside = n < N
    at = m * N + n
    total = tl.load(parts_ptr + at, mask=inside, other=0)
    for split in range(1, SPLITS):
        total += tl.load(parts_ptr + split * M * N + at, mask=inside, other=0)
    y = finish(total, x_scale_ptr, w_scale_ptr, bias_ptr, m, n, m < M, inside)
    tl.store(out_ptr + at, y.to(out_ptr.dtype.element_ty), mask=inside)
