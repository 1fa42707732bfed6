"""The eight-bit KV cache in Triton: written as codes and scales, read without widening it first.

A key's scale multiplies its scores, a value's its weights, so that codes go to the dot products as
they are: every int8 and every e4m3 number is exact in the queries' dtype. Attention reads
2 · kv_heads · (head_dim + 2) bytes a cached token, 0.51 of what half precision takes at a head of
128; decode, bound by those bytes, should be 1.8 to 1.9 times as fast.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..batch import AttentionBatch, ContiguousBatch, PagedBatch
from ..quantized_kv import QuantizedKV
from ..reference.quantized_kv import LARGEST_CODE, LEAST_SCALE
from .attention import attend, attends
from .launch import launch
from .register import implements_triton
from .target import interpreted, power_of_two, warps_for


@implements_triton("quantized_cache_write")
def quantized_cache_write(k: Tensor, v: Tensor, cache: QuantizedKV, slot_mapping: Tensor) -> None:
    """As the reference, bit for bit; a token whose slot is negative is not written."""
    from .cache_kernel import quantized_cache_write_kernel

    tokens, kv_heads, head_dim = k.shape
    if tokens == 0:
        return
    heads, width = power_of_two(kv_heads), power_of_two(head_dim)
    codes = _bytes(cache.keys), _bytes(cache.values)
    launch(
        *(quantized_cache_write_kernel, (tokens,)),
        *(k, v, *codes, cache.key_scales, cache.value_scales, slot_mapping),
        *(*k.stride(), *v.stride()),
        KV_HEADS=kv_heads,
        HEAD_DIM=head_dim,
        HEADS=heads,
        D=width,
        LARGEST=LARGEST_CODE[cache.keys.dtype],
        LEAST=LEAST_SCALE,
        INTERPRETED=interpreted(),
        warps=warps_for(heads * width),
    )


def takes(
    q: Tensor,
    cache: QuantizedKV,
    batch: AttentionBatch,  # noqa: ARG001
    scale: float,
    window: int | None = None,  # noqa: ARG001
    out: Tensor | None = None,  # noqa: ARG001
) -> bool:
    """What `attends` says, and of e4m3 heads that are pairs of codes."""
    return attends(q, scale) and (cache.keys.dtype == torch.int8 or q.shape[-1] % 2 == 0)


@implements_triton("quantized_paged_attention", takes=takes)
def quantized_paged_attention(
    q: Tensor,
    cache: QuantizedKV,
    batch: PagedBatch,
    scale: float,
    window: int | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """As the reference, of a call that `takes`."""
    return _attend(q, cache, batch, scale, window, out)


@implements_triton("quantized_contiguous_attention", takes=takes)
def quantized_contiguous_attention(
    q: Tensor,
    cache: QuantizedKV,
    batch: ContiguousBatch,
    scale: float,
    window: int | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """As the reference, of a call that `takes`."""
    return _attend(q, cache, batch, scale, window, out)


def _attend(
    q: Tensor,
    cache: QuantizedKV,
    batch: AttentionBatch,
    scale: float,
    window: int | None,
    out: Tensor | None,
) -> Tensor:
    keys, values = cache.keys, cache.values
    if keys.dtype.is_floating_point:
        keys, values = keys.view(torch.int16), values.view(torch.int16)
    return attend(q, keys, values, cache.key_scales, cache.value_scales, batch, scale, window, out)


def _bytes(codes: Tensor) -> Tensor:
    """The same memory, of e4m3 as bytes for kernels that convert it themselves."""
    return codes.view(torch.uint8) if codes.dtype.is_floating_point else codes
