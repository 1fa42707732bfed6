"""Conversions between number formats, inside kernels; importing this imports Triton.

e4m3 is read and written as bytes, by integer arithmetic, where a device (before Ada, or AMD's) or
the interpreter has no conversion of its own or a wrong one.
"""
# ruff: noqa: N803 -- compile-time constants are upper case in Triton's code

from __future__ import annotations

import triton
import triton.language as tl

# `from_e4m3` makes numbers this much too small, to be made good where a scale is applied anyway:
# the biases of the exponents, 15 and 7, differ by 8.
E4M3_FACTOR = tl.constexpr(256.0)


@triton.jit
def narrowed(x, dtype: tl.constexpr, INTERPRETED: tl.constexpr):
    """x, float32, in `dtype`, ties to even. The interpreter cuts bfloat16 off: rounded before."""
    if INTERPRETED and dtype == tl.bfloat16:
        bits = x.to(tl.uint32, bitcast=True)
        bits = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000
        x = tl.where(x == x, bits.to(tl.float32, bitcast=True), x)
    return x.to(dtype)


@triton.jit
def nearest_integer(x):
    """x, |x| < 2^22, rounded, ties to even: from 2^23 on, float32 has no fractions."""
    return (x + 12582912.0) - 12582912.0


@triton.jit
def to_e4m3(x):
    """x, float32, |x| <= 448 or NaN, as the byte of an e4m3 number, ties to even."""
    size = tl.abs(x)
    bits = size.to(tl.uint32, bitcast=True)
    # Twenty of the 23 bits of the fraction go; exponents are counted from 7, not 127.
    normal = ((bits + 0x7FFFF + ((bits >> 20) & 1)) >> 20) - (120 << 3)
    # Below 2^-6 numbers are multiples of 2^-9; the eighth multiple is the first normal number.
    subnormal = nearest_integer(size * 512.0).to(tl.uint32)
    code = tl.where(size < 0.015625, subnormal, normal)
    sign = (x.to(tl.uint32, bitcast=True) >> 24) & 0x80
    return tl.where(x == x, code | sign, 0x7F).to(tl.uint8)


@triton.jit
def from_e4m3(code):
    """Bytes of e4m3 numbers -> float16, E4M3_FACTOR too small, exactly. The two NaN codes become
    480 and -480: a cache's NaN is in its scale."""
    wide = code.to(tl.uint16)
    bits = ((wide & 0x80) << 8) | ((wide & 0x7F) << 7)
    return bits.to(tl.float16, bitcast=True)
