"""From activations to eight-bit codes and a scale a token or group; importing imports Triton."""
# ruff: noqa: N803 -- sizes and compile-time constants are upper case in Triton's code

from __future__ import annotations

import triton
import triton.language as tl

from .conversions import nearest_integer, to_e4m3


@triton.jit
def token_codes_kernel(
    x_ptr,  # [M, K], rows x_stride apart
    x_stride,
    codes_ptr,  # [M, K], int8 or e4m3's bytes
    scales_ptr,  # float32 [M, GROUPS]
    given_ptr,  # float32, the static scale, or None: largest / LARGEST of each group
    K: tl.constexpr,
    GROUP: tl.constexpr,  # columns that share a scale
    GROUPS: tl.constexpr,
    BLOCK: tl.constexpr,
    LARGEST: tl.constexpr,
    E4M3: tl.constexpr,
):
    """One group of one token a program: its largest value, then its codes."""
    row = tl.program_id(0).to(tl.int64)
    group = tl.program_id(1)
    first = group * GROUP
    end = tl.minimum(first + GROUP, K)
    largest = tl.zeros((BLOCK,), dtype=tl.float32)
    odd = tl.zeros((BLOCK,), dtype=tl.int32)
    for turn in range(tl.cdiv(GROUP, BLOCK)):
        k = first + turn * BLOCK + tl.arange(0, BLOCK)
        x = tl.load(x_ptr + row * x_stride + k, mask=k < end, other=0.0).to(tl.float32)
        largest = tl.maximum(largest, tl.abs(x))
        odd += ((x - x) != 0.0).to(tl.int32)  # infinities and NaN, which maximum may skip
    if given_ptr is None:
        scale = tl.maximum(tl.math.div_rn(tl.max(largest, 0), LARGEST), 1.1754943508222875e-38)
    else:
        scale = tl.load(given_ptr)
    finite = tl.sum(odd, 0) == 0
    tl.store(scales_ptr + row * GROUPS + group, tl.where(finite, scale, float("nan")))
    for turn in range(tl.cdiv(GROUP, BLOCK)):
        k = first + turn * BLOCK + tl.arange(0, BLOCK)
        x = tl.load(x_ptr + row * x_stride + k, mask=k < end, other=0.0).to(tl.float32)
        steps = tl.math.div_rn(x, tl.zeros((BLOCK,), dtype=tl.float32) + scale)
        steps = tl.minimum(tl.maximum(steps, -LARGEST), LARGEST)
        steps = tl.where(finite, steps, 0.0)
        code = to_e4m3(steps) if E4M3 else nearest_integer(steps).to(tl.int8)
        tl.store(codes_ptr + row * K + k, code, mask=k < end)
