"""The kernels that write the KV cache; importing this imports Triton. The host's side: `cache.py`
and `quantized_kv.py`."""
# ruff: noqa: N803 -- compile-time constants are upper case in Triton's code

from __future__ import annotations

import triton
import triton.language as tl

from .conversions import narrowed, nearest_integer, to_e4m3


@triton.jit(do_not_specialize=["slot_ptr"])
def cache_write_kernel(
    k_ptr,  # [T, KV_HEADS, HEAD_DIM], in any strides
    v_ptr,
    k_cache_ptr,  # [slots, KV_HEADS, HEAD_DIM], contiguous
    v_cache_ptr,
    slot_ptr,  # [T]; negative: not written
    k_token_stride,
    k_head_stride,
    k_stride,
    v_token_stride,
    v_head_stride,
    v_stride,
    KV_HEADS: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """One token's key and value, of all heads."""
    token = tl.program_id(0).to(tl.int64)
    slot = tl.load(slot_ptr + token).to(tl.int64)
    element = tl.arange(0, BLOCK)
    written = (element < KV_HEADS * HEAD_DIM) & (slot >= 0)
    head = element // HEAD_DIM
    d = element % HEAD_DIM
    k_at = token * k_token_stride + head * k_head_stride + d * k_stride
    v_at = token * v_token_stride + head * v_head_stride + d * v_stride
    to = slot * KV_HEADS * HEAD_DIM + element
    tl.store(k_cache_ptr + to, tl.load(k_ptr + k_at, mask=written), mask=written)
    tl.store(v_cache_ptr + to, tl.load(v_ptr + v_at, mask=written), mask=written)


@triton.jit(do_not_specialize=["slot_ptr"])
def quantized_cache_write_kernel(
    k_ptr,  # as above
    v_ptr,
    k_code_ptr,  # int8, or uint8 for e4m3, [slots, KV_HEADS, HEAD_DIM], contiguous
    v_code_ptr,
    k_scale_ptr,  # [slots, KV_HEADS], contiguous
    v_scale_ptr,
    slot_ptr,
    k_token_stride,
    k_head_stride,
    k_stride,
    v_token_stride,
    v_head_stride,
    v_stride,
    KV_HEADS: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    HEADS: tl.constexpr,  # KV_HEADS and HEAD_DIM, padded to powers of two
    D: tl.constexpr,
    LARGEST: tl.constexpr,  # code
    LEAST: tl.constexpr,  # scale
    INTERPRETED: tl.constexpr,
):
    """One token's key and value, of all heads."""
    token = tl.program_id(0).to(tl.int64)
    slot = tl.load(slot_ptr + token).to(tl.int64)
    head = tl.arange(0, HEADS)
    d = tl.arange(0, D)
    written = (head < KV_HEADS) & (slot >= 0)
    inside = written[:, None] & (d[None, :] < HEAD_DIM)
    k_at = token * k_token_stride + head[:, None] * k_head_stride + d[None, :] * k_stride
    v_at = token * v_token_stride + head[:, None] * v_head_stride + d[None, :] * v_stride
    scale_to = slot * KV_HEADS + head
    to = scale_to[:, None] * HEAD_DIM + d[None, :]
    k = tl.load(k_ptr + k_at, mask=inside, other=0.0).to(tl.float32)
    _quantize(
        k, k_code_ptr + to, k_scale_ptr + scale_to, inside, written, LARGEST, LEAST, INTERPRETED
    )
    v = tl.load(v_ptr + v_at, mask=inside, other=0.0).to(tl.float32)
    _quantize(
        v, v_code_ptr + to, v_scale_ptr + scale_to, inside, written, LARGEST, LEAST, INTERPRETED
    )


@triton.jit
def _quantize(
    x,
    code_at,
    scale_at,
    inside,
    written,
    LARGEST: tl.constexpr,
    LEAST: tl.constexpr,
    INTERPRETED: tl.constexpr,
):
    """Rows of x as codes and scales: the reference's arithmetic, bit for bit."""
    # A maximum leaves NaN out; what is not finite makes the scale so.
    size = tl.abs(x)
    scale = tl.maximum(tl.div_rn(tl.max(size, axis=1), LARGEST), LEAST)
    poisoned = tl.sum((size != size).to(tl.int32), axis=1) > 0
    scale = tl.where(poisoned, float("nan"), scale)
    narrow = narrowed(scale, tl.bfloat16, INTERPRETED)
    steps = tl.div_rn(x, tl.broadcast_to(narrow.to(tl.float32)[:, None], x.shape))
    bounded = tl.minimum(tl.maximum(steps, -LARGEST), LARGEST)
    if code_at.dtype.element_ty == tl.uint8:
        codes = tl.where(steps == steps, to_e4m3(bounded), 0x7F).to(tl.uint8)
    else:
        # NaN has no code; its scale carries it.
        codes = nearest_integer(tl.where(steps == steps, bounded, 0.0)).to(tl.int8)
    tl.store(code_at, codes, mask=inside)
    tl.store(scale_at, narrow, mask=written)
