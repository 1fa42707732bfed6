"""Tiles of keys into the running softmax, of a cache of e4m3 codes; importing this imports Triton.

Two codes that lie side by side are one 16-bit word, so that tensor cores' operands are loaded from
shared memory as they are (`ldmatrix` transposes items of 16 bits, and of 8 one byte at a time).
The low bytes are elements 0, 2, … of a head and the high ones 1, 3, …: a product of each, added
for keys and side by side for values. Codes become floats by their bits, two at a time, for the
conversions of a device take a slow unit: with the exponent's bits in place a number is 2^-120 (in
float16 2^-8) of what it means, and a multiplication of pairs makes that good. It could wait for a
scale, but e4m3's subnormals would then be subnormals of the wider float, and what tensor cores do
with these PTX leaves open ("handling of subnormal inputs is unspecified").

Scales are loaded a turn ahead: what loads through a block table waits twice.
"""
# ruff: noqa: N803, N806 -- sizes and compile-time constants are upper case in Triton's code
# To a type checker, a jit function that is called from Python never returns.
# pyright: reportGeneralTypeIssues=false

from __future__ import annotations

import triton
import triton.language as tl

from .attention_tiles import LEAST, places_of, queries, scaled, softmax_step
from .conversions import e4m3_to_float16


@triton.constexpr_function
def widened(high, dtype):
    """PTX: of two 16-bit words in a register the low or high bytes, e4m3 numbers, in bfloat16 or
    float16. 0xCA is lop3's table of a ? b : c, bit by bit; fma adds -0, which is nothing."""
    up, bits, kind, factor = {
        "bfloat16": (4, "0x07F007F0", "bf16x2", "0x7B807B80"),
        "float16": (7, "0x3F803F80", "f16x2", "0x5C005C00"),
    }[dtype]
    signs = "and.b32 s, $1, 0x80808080;"
    if high:
        bytes_of = f"shr.u32 m, $1, {8 - up}; {signs}"
    else:
        bytes_of = f"shl.b32 m, $1, {up}; {signs} shl.b32 s, s, 8;"
    return (
        f"{{ .reg .b32 m, s, f, z; {bytes_of} lop3.b32 m, {bits}, m, s, 0xCA; "
        f"mov.b32 f, {factor}; mov.b32 z, 0x80008000; fma.rn.{kind} $0, m, f, z; }}"
    )


@triton.jit
def floats_of(words, HIGH: tl.constexpr, FLOAT: tl.constexpr, ASSEMBLY: tl.constexpr):
    """The low or HIGH bytes, exactly, the two NaN codes as 480 and -480: a cache's NaN is in its
    scale. ASSEMBLY: of two words at once, which the compiler would take apart."""
    if not ASSEMBLY:
        number = e4m3_to_float16(((words >> (8 * HIGH)) & 0xFF).to(tl.uint8)).to(FLOAT)
    elif tl.float16 == FLOAT:
        ASM: tl.constexpr = widened(HIGH, "float16")  # type: ignore[assignment]
        number = tl.inline_asm_elementwise(ASM, "=r,r", [words], tl.float16, is_pure=True, pack=2)  # type: ignore[arg-type]
    else:
        ASM: tl.constexpr = widened(HIGH, "bfloat16")  # type: ignore[assignment]
        number = tl.inline_asm_elementwise(ASM, "=r,r", [words], tl.bfloat16, is_pure=True, pack=2)  # type: ignore[arg-type]
    return number


@triton.jit
def attend_words(
    q_row,
    in_block,
    position,
    tile,
    whole,
    end,
    stop,
    kv_head,
    scale,
    k_ptr,
    v_ptr,
    k_scale_ptr,
    v_scale_ptr,
    place,
    KV_HEADS: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    PAGE: tl.constexpr,
    WINDOW: tl.constexpr,
    TILE: tl.constexpr,
    D: tl.constexpr,
    ALL_MASKED: tl.constexpr,
    INTERPRETED: tl.constexpr,
    ASSEMBLY: tl.constexpr,
):
    """As `attention_tiles.attend`; k_ptr and v_ptr: int16, [slots, KV_HEADS, HEAD_DIM // 2]."""
    BLOCK_M: tl.constexpr = in_block.shape[0]
    j = tl.arange(0, D // 2)
    inside = in_block[:, None] & (2 * j[None, :] < HEAD_DIM)
    q_even = queries(q_row + 2 * j[None, :], inside, INTERPRETED)
    q_odd = queries(q_row + 2 * j[None, :] + 1, inside, INTERPRETED)
    total = tl.zeros((BLOCK_M,), dtype=tl.float32)
    peak = total + LEAST
    even = tl.zeros((BLOCK_M, D // 2), dtype=tl.float32)
    odd = even
    if not ALL_MASKED:
        even, odd, peak, total = _attend(
            *(even, odd, peak, total, q_even, q_odd, position, tile, whole, stop, kv_head, scale),
            *(k_ptr, v_ptr, k_scale_ptr, v_scale_ptr, place),
            *(KV_HEADS, HEAD_DIM, PAGE, WINDOW, TILE, D, False, INTERPRETED, ASSEMBLY),
        )
        tile = whole
    even, odd, peak, total = _attend(
        *(even, odd, peak, total, q_even, q_odd, position, tile, end, stop, kv_head, scale),
        *(k_ptr, v_ptr, k_scale_ptr, v_scale_ptr, place),
        *(KV_HEADS, HEAD_DIM, PAGE, WINDOW, TILE, D, True, INTERPRETED, ASSEMBLY),
    )
    return tl.interleave(even, odd), peak, total


@triton.jit
def _attend(
    even,
    odd,
    peak,
    total,
    q_even,
    q_odd,
    position,
    tile,
    end,
    stop,
    kv_head,
    scale,
    k_ptr,
    v_ptr,
    k_scale_ptr,
    v_scale_ptr,
    place,
    KV_HEADS: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    PAGE: tl.constexpr,
    WINDOW: tl.constexpr,
    TILE: tl.constexpr,
    D: tl.constexpr,
    MASKED: tl.constexpr,
    INTERPRETED: tl.constexpr,
    ASSEMBLY: tl.constexpr,
):
    """Tiles of keys from `tile` up to `end`, into the running softmax."""
    k_scale, v_scale = _scales(
        tile, stop, kv_head, k_scale_ptr, v_scale_ptr, place, KV_HEADS, PAGE, TILE
    )
    if INTERPRETED:  # the interpreter of Triton 3.6 takes no tensor as the bound of a range
        while tile < end:
            even, odd, peak, total, k_scale, v_scale = _attend_tile(
                *(even, odd, peak, total, k_scale, v_scale, q_even, q_odd, position, tile),
                *(stop, kv_head, scale, k_ptr, v_ptr, k_scale_ptr, v_scale_ptr, place),
                *(KV_HEADS, HEAD_DIM, PAGE, WINDOW, TILE, D, MASKED, ASSEMBLY),
            )
            tile += 1
    else:
        for turn in range(tile, end):
            even, odd, peak, total, k_scale, v_scale = _attend_tile(
                *(even, odd, peak, total, k_scale, v_scale, q_even, q_odd, position, turn),
                *(stop, kv_head, scale, k_ptr, v_ptr, k_scale_ptr, v_scale_ptr, place),
                *(KV_HEADS, HEAD_DIM, PAGE, WINDOW, TILE, D, MASKED, ASSEMBLY),
            )
    return even, odd, peak, total


@triton.jit
def _attend_tile(
    even,
    odd,
    peak,
    total,
    k_scale,
    v_scale,
    q_even,
    q_odd,
    position,
    tile,
    stop,
    kv_head,
    scale,
    k_ptr,
    v_ptr,
    k_scale_ptr,
    v_scale_ptr,
    place,
    KV_HEADS: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    PAGE: tl.constexpr,
    WINDOW: tl.constexpr,
    TILE: tl.constexpr,
    D: tl.constexpr,
    MASKED: tl.constexpr,
    ASSEMBLY: tl.constexpr,
):
    """even, odd [BLOCK_M, D / 2], peak and total [BLOCK_M], with the keys of one tile, whose scales
    are k_scale and v_scale [TILE]; and the scales of the next."""
    FLOAT: tl.constexpr = q_even.dtype
    next_k_scale, next_v_scale = _scales(
        tile + 1, stop, kv_head, k_scale_ptr, v_scale_ptr, place, KV_HEADS, PAGE, TILE
    )
    key = tile * TILE + tl.arange(0, TILE)
    j = tl.arange(0, D // 2)
    # What is true of all elements is folded away.
    seen = tl.full((TILE,), True, dtype=tl.int1)
    if MASKED:
        seen = key < stop
    inside = tl.broadcast_to(seen[:, None], (TILE, D // 2))
    if D != HEAD_DIM:
        inside &= 2 * j[None, :] < HEAD_DIM
    at = places_of(key, seen, kv_head, place, KV_HEADS, PAGE)
    word = at[:, None] * (HEAD_DIM // 2) + j[None, :]

    keys = tl.load(k_ptr + word, mask=inside, other=0)
    low = tl.trans(floats_of(keys, 0, FLOAT, ASSEMBLY))
    scores = tl.dot(q_even, low, input_precision="ieee")
    high = tl.trans(floats_of(keys, 1, FLOAT, ASSEMBLY))
    scores = tl.dot(q_odd, high, scores, input_precision="ieee") * k_scale[None, :]
    weights, shrink, peak, total = softmax_step(
        scores, peak, total, key, seen, position, scale, WINDOW, MASKED
    )
    even *= shrink[:, None]
    odd *= shrink[:, None]

    values = tl.load(v_ptr + word, mask=inside, other=0)
    weights, largest = scaled(weights, v_scale, FLOAT)
    low = floats_of(values, 0, FLOAT, ASSEMBLY)
    high = floats_of(values, 1, FLOAT, ASSEMBLY)
    if tl.float16 == FLOAT:
        even += tl.dot(weights, low) * largest
        odd += tl.dot(weights, high) * largest
    else:
        even = tl.dot(weights, low, even, input_precision="ieee")
        odd = tl.dot(weights, high, odd, input_precision="ieee")
    return even, odd, peak, total, next_k_scale, next_v_scale


@triton.jit
def _scales(
    tile,
    stop,
    kv_head,
    k_scale_ptr,
    v_scale_ptr,
    place,
    KV_HEADS: tl.constexpr,
    PAGE: tl.constexpr,
    TILE: tl.constexpr,
):
    """Of the keys and values of a tile, float32; 0 for what is not there, NaN for infinity: a head
    that had one has a NaN among its codes, of which `floats_of` makes a number."""
    key = tile * TILE + tl.arange(0, TILE)
    seen = key < stop
    at = places_of(key, seen, kv_head, place, KV_HEADS, PAGE)
    k_scale = tl.load(k_scale_ptr + at, mask=seen, other=0.0).to(tl.float32)
    v_scale = tl.load(v_scale_ptr + at, mask=seen, other=0.0).to(tl.float32)
    return k_scale + 0.0 * k_scale, v_scale + 0.0 * v_scale
