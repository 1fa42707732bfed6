"""The W4A16 kernel itself; importing this imports Triton. The host's side is `w4a16.py`."""
# ruff: noqa: N803, N806 -- sizes and compile-time constants are upper case in Triton's code

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def w4a16_kernel(
    x_ptr,  # [M, K], rows x_stride apart
    weight_ptr,  # uint8 [K / 2, N]: row b * HALF + j holds k = b * BLOCK_K + j (+ HALF, high)
    scale_ptr,  # [K / GROUP, N]
    zero_ptr,  # uint8 [K / GROUP, N]
    out_ptr,  # float32 [SPLITS, M, N]
    M,
    N,
    x_stride,
    BLOCKS: tl.constexpr,  # K / BLOCK_K
    GROUP: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,  # divides GROUP, so a block has one scale a column
    SPLITS: tl.constexpr,
    WIDEN: tl.constexpr,  # dot in float32: the interpreter's bfloat16 dot is wrong
):
    """out[s] = x · Wᵀ over the K blocks s, s + SPLITS, …; the host adds the parts in order."""
    HALF: tl.constexpr = BLOCK_K // 2
    m = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    n = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    split = tl.program_id(2)
    j = tl.arange(0, HALF)
    in_m = m[:, None] < M
    in_n = n[None, :] < N

    total = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    # The count is a constant: the interpreter cannot loop over bounds that are tensors.
    for turn in range(tl.cdiv(BLOCKS, SPLITS)):
        block = split + turn * SPLITS
        k = block * BLOCK_K
        in_k = block < BLOCKS
        x_at = x_ptr + m[:, None].to(tl.int64) * x_stride + k + j[None, :]
        x_low = tl.load(x_at, mask=in_m & in_k, other=0.0)
        x_high = tl.load(x_at + HALF, mask=in_m & in_k, other=0.0)
        if WIDEN:
            x_low = x_low.to(tl.float32)
            x_high = x_high.to(tl.float32)
        group = (k // GROUP) * N + n[None, :]
        zero = tl.load(zero_ptr + group, mask=in_n & in_k, other=0).to(tl.int32)
        scale = tl.load(scale_ptr + group, mask=in_n & in_k, other=0.0).to(tl.float32)
        row = (block * HALF + j[:, None]).to(tl.int64)
        both = tl.load(weight_ptr + row * N + n[None, :], mask=in_n & in_k, other=0).to(tl.int32)
        # q - zero lies in -15..15: exact in any activation dtype, so the scale can wait.
        low = ((both & 15) - zero).to(x_low.dtype)
        high = ((both >> 4) - zero).to(x_high.dtype)
        part = tl.dot(x_low, low, input_precision="ieee")
        part = tl.dot(x_high, high, part, input_precision="ieee")
        total += part * scale

    at = out_ptr + (split.to(tl.int64) * M + m[:, None]) * N + n[None, :]
    tl.store(at, total, mask=in_m & in_n)
