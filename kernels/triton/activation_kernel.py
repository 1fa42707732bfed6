"""The kernel of SwiGLU's gate; importing this imports Triton. The host's side: `activation.py`."""
# ruff: noqa: N803 -- compile-time constants are upper case in Triton's code

from __future__ import annotations

import triton
import triton.language as tl

from .conversions import narrowed


@triton.jit
def silu_mul_kernel(
    gate_up_ptr,  # [T, 2 * SIZE], rows `stride` apart
    out_ptr,  # [T, SIZE], contiguous
    stride,
    SIZE: tl.constexpr,
    BLOCK: tl.constexpr,
    INTERPRETED: tl.constexpr,
):
    """BLOCK elements of one row."""
    token = tl.program_id(0).to(tl.int64)
    element = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = element < SIZE
    at = gate_up_ptr + token * stride + element
    gate = tl.load(at, mask=inside, other=0.0).to(tl.float32)
    up = tl.load(at + SIZE, mask=inside, other=0.0).to(tl.float32)
    result = gate / (1.0 + tl.exp(-gate)) * up
    dtype: tl.constexpr = out_ptr.dtype.element_ty
    tl.store(out_ptr + token * SIZE + element, narrowed(result, dtype, INTERPRETED), mask=inside)
