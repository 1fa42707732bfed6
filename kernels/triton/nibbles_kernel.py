"""Products with 4-bit weights, integers or e2m1 floats; importing this imports Triton.

A word holds a code of each part of a block, so each part feeds one dot and nothing is interleaved;
words lie along the inputs, as tensor cores want them. Codes become floats by their bits alone: no
conversion instruction. What binds a kernel that reads half a byte a weight is how many
instructions a weight takes.
"""
# ruff: noqa: N803, N806 -- sizes and compile-time constants are upper case in Triton's code

from __future__ import annotations

import triton
import triton.language as tl

from .conversions import e4m3_to_float16
from .splits_kernel import store_product


@triton.jit
def integer(code, FLOAT: tl.constexpr):
    """2^10 + code in float16, 2^7 + code in bfloat16, 2^23 + code in float32, exactly: in these
    binades a step is 1, so the code is the lowest bits, and differences are those of codes."""
    if tl.float16 == FLOAT:
        number = (code.to(tl.int16) | 0x6400).to(tl.float16, bitcast=True)
    elif tl.bfloat16 == FLOAT:
        number = (code.to(tl.int16) | 0x4300).to(tl.bfloat16, bitcast=True)
    else:
        number = (code.to(tl.int32) | 0x4B000000).to(tl.float32, bitcast=True)
    return number


@triton.jit
def grid_of(word, FLOAT: tl.constexpr):
    """The scale, float32, and the zero point as `integer` makes it, of what `nibbles.grids` packed:
    the scale's bits, the last four of which are the zero point's."""
    return (word & -16).to(tl.float32, bitcast=True), integer(word & 15, FLOAT)


@triton.constexpr_function
def taken(shift, magic):
    """PTX: of two 16-bit words in a register the codes `shift` bits up, and the bits `magic`. 0xEA
    is lop3's table of (a & b) | c."""
    return f"shr.u32 $0, $1, {shift}; lop3.b32 $0, $0, 0x000F000F, {magic}, 0xEA;"


@triton.jit
def codes_of(words, PART: tl.constexpr, FLOAT: tl.constexpr, ASSEMBLY: tl.constexpr):
    """Part PART of each word as `integer` makes it. ASSEMBLY: of two words at once, which the
    compiler would take apart and put together again."""
    if not ASSEMBLY:
        number = integer((words >> (4 * PART)) & 15, FLOAT)
    elif tl.float16 == FLOAT:
        ASM: tl.constexpr = taken(4 * PART, "0x64006400")  # type: ignore[assignment]
        number = tl.inline_asm_elementwise(ASM, "=r,r", [words], tl.float16, is_pure=True, pack=2)  # type: ignore[arg-type]
    else:
        ASM: tl.constexpr = taken(4 * PART, "0x43004300")  # type: ignore[assignment]
        number = tl.inline_asm_elementwise(ASM, "=r,r", [words], tl.bfloat16, is_pure=True, pack=2)  # type: ignore[arg-type]
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
    ROWS: tl.constexpr, INPUTS: tl.constexpr, SHARE: tl.constexpr, E8M0: tl.constexpr,
    FLOAT: tl.constexpr,
):  # fmt: skip
    """Scales of inputs first … first + INPUTS of outputs n, [ROWS, INPUTS]; SHARE inputs have one,
    an e4m3 number or 2^(byte - 127)."""
    at = first // SHARE + tl.arange(0, INPUTS // SHARE)
    byte = tl.load(scale_ptr + at[None, :].to(tl.int64) * N + n, mask=in_n, other=0)
    if E8M0:
        scale = (byte.to(tl.int32) << 23).to(tl.float32, bitcast=True).to(FLOAT)
    else:
        scale = e4m3_to_float16(byte).to(FLOAT)
    spread = tl.broadcast_to(scale[:, :, None], (ROWS, INPUTS // SHARE, SHARE))
    return tl.reshape(spread, (ROWS, INPUTS))


@triton.jit
def words_of(
    weight_ptr, tile, block, row, j, BLOCKS: tl.constexpr, TILE_N: tl.constexpr, SIZE: tl.constexpr
):  # fmt: skip
    """Where word j of an output's block is; row: the output's in its tile."""
    return weight_ptr + (tile.to(tl.int64) * BLOCKS + block) * (TILE_N * SIZE) + row * SIZE + j


@triton.jit(do_not_specialize=["M"])
def nibbles_kernel(
    x_ptr,  # [M, K], rows x_stride apart
    x_stride,
    weight_ptr,  # [TILES, BLOCKS, TILE_N, SIZE]: word j of a block holds inputs j, SIZE + j, …
    scale_ptr,  # int4: int32 [GROUPS, N], as `grid_of`; e2m1: uint8 [BLOCKS * BLOCK_K / SHARE, N]
    row_scale_ptr,  # e2m1: float32 [N]; int4: None
    bias_ptr,  # [N] or None
    out_ptr,  # [M, N], or float32 [SPLITS, M, N]
    M,
    N,
    GROUP: tl.constexpr,  # inputs that share a scale and zero; e2m1: K
    PER_GROUP: tl.constexpr,  # blocks that a group lies in, the last maybe not full
    BLOCKS: tl.constexpr,
    PARTS: tl.constexpr,  # of a block, one for each code in a word
    TILE_N: tl.constexpr,  # outputs whose words of a block lie together, a multiple of BLOCK_N
    SHARE: tl.constexpr,  # e2m1: weights that share a scale; 0: int4
    E8M0: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    SPLITS: tl.constexpr,
    ASSEMBLY: tl.constexpr,
    WIDEN: tl.constexpr,  # compute in float32: the interpreter has no bfloat16 arithmetic
):
    """out = x · Wᵀ, as W · xᵀ: a tensor core takes its first factor from registers, where codes
    become floats, and 64 rows of it at once, which outputs fill and few tokens would not.

    With one split finished; otherwise split s holds the sum of blocks s, s + SPLITS, …, which
    `add_splits_kernel` finishes."""
    SIZE: tl.constexpr = BLOCK_K // PARTS
    m = (tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)).to(tl.int64)[None, :]
    first_n = tl.program_id(1) * BLOCK_N
    n = (first_n + tl.arange(0, BLOCK_N))[:, None]
    row = (first_n % TILE_N + tl.arange(0, BLOCK_N))[:, None]
    split = tl.program_id(2)
    j = tl.arange(0, SIZE)
    in_m = m < M
    in_n = n < N
    FLOAT: tl.constexpr = tl.float32 if WIDEN else x_ptr.dtype.element_ty  # type: ignore[assignment]
    total = tl.zeros((BLOCK_N, BLOCK_M), dtype=tl.float32)
    # The count is a constant: the interpreter cannot loop over bounds that are tensors.
    for turn in range(tl.cdiv(BLOCKS, SPLITS)):
        block = split + turn * SPLITS
        group = block // PER_GROUP
        within = (block % PER_GROUP) * BLOCK_K + j
        at = words_of(weight_ptr, first_n // TILE_N, block, row, j[None, :], BLOCKS, TILE_N, SIZE)
        inside = in_n
        in_x = in_m
        if BLOCKS % SPLITS == 0:
            words = tl.load(at)  # what fills up the last tile is there, too
        else:
            inside = in_n & (block < BLOCKS)
            in_x = in_m & (block < BLOCKS)
            words = tl.load(at, mask=inside, other=0)
        x_at = x_ptr + m * x_stride + (group * GROUP + within)[:, None]
        if SHARE == 0:
            # One load of four bytes: only such are begun turns ahead of where they are needed.
            scale, zero = grid_of(tl.load(scale_ptr + group * N + n, mask=inside, other=0), FLOAT)
            part = tl.zeros((BLOCK_N, BLOCK_M), dtype=tl.float32)
        for i in tl.static_range(PARTS):
            # What is beyond a group, or the last block, is 0 in x and so adds nothing.
            in_part = in_x
            if GROUP % BLOCK_K != 0:
                in_part = in_x & (within + i * SIZE < GROUP)[:, None]
            x = tl.load(x_at + i * SIZE, mask=in_part, other=0.0).to(FLOAT)
            if SHARE:
                first = block * BLOCK_K + i * SIZE
                w = e2m1((words >> (4 * i)) & 15, FLOAT) * block_scales(
                    scale_ptr, first, n, inside, N, BLOCK_N, SIZE, SHARE, E8M0, FLOAT
                )
                total = tl.dot(w, x, total, input_precision="ieee")
            else:
                # q - zero lies in -15..15: exact, so the scale can wait for the sum.
                w = codes_of(words, i, FLOAT, ASSEMBLY) - zero
                part = tl.dot(w, x, part, input_precision="ieee")
        if SHARE == 0:
            total += part * scale

    store_product(out_ptr, total, None, row_scale_ptr, bias_ptr, m, n, M, N, split, SPLITS)


@triton.jit
def widen_kernel(
    weight_ptr,
    scale_ptr,
    row_scale_ptr,
    out_ptr,  # [K, N]
    N,
    GROUP: tl.constexpr,
    PER_GROUP: tl.constexpr,
    BLOCKS: tl.constexpr,
    PARTS: tl.constexpr,
    TILE_N: tl.constexpr,
    SHARE: tl.constexpr,
    E8M0: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """Wᵀ in the dtype of `out`; the arguments are those of `nibbles_kernel`. Neighbours among a
    program's threads are outputs, as they are in what it writes."""
    SIZE: tl.constexpr = BLOCK_K // PARTS
    block = tl.program_id(0)
    tile = tl.program_id(1)
    row = tl.arange(0, TILE_N)[None, :]
    n = tile * TILE_N + row
    in_n = n < N
    j = tl.arange(0, SIZE)
    group = block // PER_GROUP
    within = (block % PER_GROUP) * BLOCK_K + j
    words = tl.load(words_of(weight_ptr, tile, block, row, j[:, None], BLOCKS, TILE_N, SIZE))
    if SHARE:
        factor = tl.load(row_scale_ptr + n, mask=in_n, other=0.0)
    else:
        word = tl.load(scale_ptr + group * N + n, mask=in_n, other=0)
        factor, zero = grid_of(word, tl.float32)
    FLOAT: tl.constexpr = out_ptr.dtype.element_ty
    for i in tl.static_range(PARTS):  # type: ignore[misc]
        if SHARE:
            first = block * BLOCK_K + i * SIZE
            scales = block_scales(
                scale_ptr, first, tl.trans(n), tl.trans(in_n), N,
                TILE_N, SIZE, SHARE, E8M0, tl.float32,
            )  # fmt: skip
            w = factor * tl.trans(scales) * e2m1((words >> (4 * i)) & 15, tl.float32)
        else:
            w = (codes_of(words, i, tl.float32, False) - zero) * factor
        k = (group * GROUP + within + i * SIZE).to(tl.int64)[:, None]
        inside = in_n & (within + i * SIZE < GROUP)[:, None]
        tl.store(out_ptr + k * N + n, w.to(FLOAT), mask=inside)
