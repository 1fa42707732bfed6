"""Conversions between number formats, inside kernels; importing this imports Triton.

e4m3 is read and written as bytes, by integer arithmetic: some devices (before Ada, or AMD's) and
the interpreter have no conversion of their own or a wrong one.
"""
# ruff: noqa: N803 -- compile-time constants are upper case in Triton's code

from __future__ import annotations

import triton
import triton.language as tl


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
    """x, float32, |x| <= 448, as the byte of an e4m3 number, ties to even."""
    bits = x.to(tl.int32, bitcast=True)
    size = bits & 0x7FFFFFFF
    # Twenty of the 23 bits of the fraction go: half a step up, less one unless odd. A carry goes
    # into the exponent, which is counted from 7, not 127.
    normal = ((size + 0x7FFFF + ((size >> 20) & 1)) >> 20) - (120 << 3)
    # Below 2^-6 a step is 2^-9: added to 2^23, the low bits are the steps.
    small = (tl.abs(x) * 512.0 + 8388608.0).to(tl.int32, bitcast=True) & 0xF
    code = tl.where(size < (121 << 23), small, normal)
    return (code | ((bits >> 24) & 0x80)).to(tl.uint8)


@triton.jit
def e4m3_to_float16(code):
    """Bytes of e4m3 numbers -> float16, exactly. The two NaN codes become 480 and -480: a NaN is in
    the scale of what was written as codes."""
    wide = code.to(tl.uint16)
    bits = ((wide & 0x80) << 8) | ((wide & 0x7F) << 7)
    # The biases of the exponents, 15 and 7, differ by 8.
    return bits.to(tl.float16, bitcast=True) * 256.0
