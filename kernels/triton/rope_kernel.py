"""The kernels that rotate queries and keys; importing this imports Triton. Host's side: `rope.py`.

Element i of a head turns with element i + HEAD_DIM / 2, so a head is loaded as two halves.
"""
# ruff: noqa: N803 -- compile-time constants are upper case in Triton's code
# To a type checker, a jit function that is called from Python never returns.
# pyright: reportGeneralTypeIssues=false

from __future__ import annotations

import triton
import triton.language as tl

from .conversions import narrowed


@triton.jit
def rope_kernel(
    q_ptr,  # [T, Q_HEADS, 2 * HALF], elements of a head side by side
    k_ptr,  # [T, KV_HEADS, 2 * HALF]
    cos_ptr,  # [T, HALF], contiguous
    sin_ptr,
    q_out_ptr,  # as q and k, contiguous
    k_out_ptr,
    q_token_stride,
    q_head_stride,
    k_token_stride,
    k_head_stride,
    Q_HEADS: tl.constexpr,
    KV_HEADS: tl.constexpr,
    HALF: tl.constexpr,
    HEADS: tl.constexpr,  # heads of a program
    PAIRS: tl.constexpr,  # HALF, padded to a power of two
    INTERPRETED: tl.constexpr,
):
    """HEADS heads of one token, queries first."""
    token = tl.program_id(0).to(tl.int64)
    head = tl.program_id(1) * HEADS + tl.arange(0, HEADS)
    pair = tl.arange(0, PAIRS)
    in_half = pair[None, :] < HALF
    is_q = (head < Q_HEADS)[:, None] & in_half
    kv_head = head - Q_HEADS
    is_k = ((kv_head >= 0) & (kv_head < KV_HEADS))[:, None] & in_half
    q_at = q_ptr + token * q_token_stride + head[:, None] * q_head_stride + pair[None, :]
    k_at = k_ptr + token * k_token_stride + kv_head[:, None] * k_head_stride + pair[None, :]
    first = _either(q_at, is_q, k_at, is_k)
    second = _either(q_at + HALF, is_q, k_at + HALF, is_k)
    angle = token * HALF + pair
    cos = tl.load(cos_ptr + angle, mask=pair < HALF, other=0.0).to(tl.float32)[None, :]
    sin = tl.load(sin_ptr + angle, mask=pair < HALF, other=0.0).to(tl.float32)[None, :]
    first, second = _turned(first, second, cos, sin)
    dtype: tl.constexpr = q_ptr.dtype.element_ty
    first, second = narrowed(first, dtype, INTERPRETED), narrowed(second, dtype, INTERPRETED)
    q_to = q_out_ptr + (token * Q_HEADS + head[:, None]) * (2 * HALF) + pair[None, :]
    k_to = k_out_ptr + (token * KV_HEADS + kv_head[:, None]) * (2 * HALF) + pair[None, :]
    tl.store(q_to, first, mask=is_q)
    tl.store(q_to + HALF, second, mask=is_q)
    tl.store(k_to, first, mask=is_k)
    tl.store(k_to + HALF, second, mask=is_k)


@triton.jit(do_not_specialize=["slot_ptr"])
def rope_cache_write_kernel(
    qkv_ptr,  # [T, Q_HEADS + 2 * KV_HEADS, 2 * HALF], contiguous
    q_norm_ptr,  # [2 * HALF], or None: queries and keys are not normed
    k_norm_ptr,
    cos_ptr,  # [T, HALF], contiguous
    sin_ptr,
    q_out_ptr,  # [T, Q_HEADS, 2 * HALF], contiguous
    k_cache_ptr,  # [slots, KV_HEADS, 2 * HALF], contiguous
    v_cache_ptr,
    slot_ptr,  # [T]; negative: not written
    eps,
    Q_HEADS: tl.constexpr,
    KV_HEADS: tl.constexpr,
    HALF: tl.constexpr,
    HEADS: tl.constexpr,
    PAIRS: tl.constexpr,
    INTERPRETED: tl.constexpr,
):
    """HEADS heads of one token: queries, then keys, then values."""
    token = tl.program_id(0).to(tl.int64)
    slot = tl.load(slot_ptr + token).to(tl.int64)
    head = tl.program_id(1) * HEADS + tl.arange(0, HEADS)
    pair = tl.arange(0, PAIRS)
    in_half = pair[None, :] < HALF
    is_q = head < Q_HEADS
    is_v = head >= Q_HEADS + KV_HEADS
    inside = (head < Q_HEADS + 2 * KV_HEADS)[:, None] & in_half
    row = token * (Q_HEADS + 2 * KV_HEADS) + head[:, None]
    at = qkv_ptr + row * (2 * HALF) + pair[None, :]
    first_in = tl.load(at, mask=inside, other=0.0)
    second_in = tl.load(at + HALF, mask=inside, other=0.0)
    first, second = first_in.to(tl.float32), second_in.to(tl.float32)
    dtype: tl.constexpr = qkv_ptr.dtype.element_ty
    if q_norm_ptr is not None:
        square = tl.sum(first * first + second * second, axis=1)
        rate = tl.rsqrt(square / (2 * HALF) + eps)[:, None]
        first *= rate * _weights(q_norm_ptr, k_norm_ptr, pair, is_q, HALF)
        second *= rate * _weights(q_norm_ptr + HALF, k_norm_ptr + HALF, pair, is_q, HALF)
        # Rounded where the reference's norm ends.
        first = narrowed(first, dtype, INTERPRETED).to(tl.float32)
        second = narrowed(second, dtype, INTERPRETED).to(tl.float32)
    angle = token * HALF + pair
    cos = tl.load(cos_ptr + angle, mask=pair < HALF, other=0.0).to(tl.float32)[None, :]
    sin = tl.load(sin_ptr + angle, mask=pair < HALF, other=0.0).to(tl.float32)[None, :]
    first, second = _turned(first, second, cos, sin)
    first, second = narrowed(first, dtype, INTERPRETED), narrowed(second, dtype, INTERPRETED)

    q_to = q_out_ptr + (token * Q_HEADS + head[:, None]) * (2 * HALF) + pair[None, :]
    tl.store(q_to, first, mask=inside & is_q[:, None])
    tl.store(q_to + HALF, second, mask=inside & is_q[:, None])
    written = inside & (slot >= 0)
    kv_head = head - tl.where(is_v, Q_HEADS + KV_HEADS, Q_HEADS)
    to = (slot * KV_HEADS + kv_head[:, None]) * (2 * HALF) + pair[None, :]
    is_k = written & (~is_q & ~is_v)[:, None]
    tl.store(k_cache_ptr + to, first, mask=is_k)
    tl.store(k_cache_ptr + to + HALF, second, mask=is_k)
    tl.store(v_cache_ptr + to, first_in, mask=written & is_v[:, None])
    tl.store(v_cache_ptr + to + HALF, second_in, mask=written & is_v[:, None])


@triton.jit
def _either(q_at, is_q, k_at, is_k):
    """float32. A row is of one kind: what is not read is 0."""
    q = tl.load(q_at, mask=is_q, other=0.0).to(tl.float32)
    return q + tl.load(k_at, mask=is_k, other=0.0).to(tl.float32)


@triton.jit
def _turned(first, second, cos, sin):
    return first * cos - second * sin, second * cos + first * sin


@triton.jit
def _weights(q_norm_ptr, k_norm_ptr, pair, is_q, HALF: tl.constexpr):
    """Half a norm's weights for each row, of queries or of keys."""
    q_norm = tl.load(q_norm_ptr + pair, mask=pair < HALF, other=0.0).to(tl.float32)
    k_norm = tl.load(k_norm_ptr + pair, mask=pair < HALF, other=0.0).to(tl.float32)
    return tl.where(is_q[:, None], q_norm[None, :], k_norm[None, :])
