"""The RMSNorm kernel itself; importing this imports Triton. The host's side is `norm.py`."""
# ruff: noqa: N803 -- compile-time constants are upper case in Triton's code

from __future__ import annotations

import triton
import triton.language as tl

from .conversions import narrowed


@triton.jit
def rms_norm_kernel(
    x_ptr,  # [rows, SIZE], contiguous
    residual_ptr,  # as x, and given the sum; None: x alone is normed
    weight_ptr,  # [SIZE]
    out_ptr,  # as x; may be x
    eps,
    SIZE: tl.constexpr,
    BLOCK: tl.constexpr,  # SIZE, padded to a power of two
    INTERPRETED: tl.constexpr,
):
    """One row, read once and kept in registers."""
    element = tl.arange(0, BLOCK)
    inside = element < SIZE
    at = tl.program_id(0).to(tl.int64) * SIZE + element
    dtype: tl.constexpr = x_ptr.dtype.element_ty
    x = tl.load(x_ptr + at, mask=inside, other=0.0).to(tl.float32)
    if residual_ptr is not None:
        x += tl.load(residual_ptr + at, mask=inside, other=0.0).to(tl.float32)
        total = narrowed(x, dtype, INTERPRETED)
        tl.store(residual_ptr + at, total, mask=inside)
        x = total.to(tl.float32)
    weight = tl.load(weight_ptr + element, mask=inside, other=0.0).to(tl.float32)
    normed = x * tl.rsqrt(tl.sum(x * x, axis=0) / SIZE + eps)
    tl.store(out_ptr + at, narrowed(normed * weight, dtype, INTERPRETED), mask=inside)
