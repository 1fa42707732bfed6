"""The eight-bit KV cache: what a code means, and the operations that write and read it.

A token's key (or value) in one KV head is head_dim codes q and one scale s: x = q · s. With the
largest code Q, 127 for int8 and 448 for e4m3, s is max |x| / Q rounded to bfloat16, and q is x / s
rounded to the nearest code, ties to even, no larger than Q. Codes are made with the rounded scale,
so that its own rounding costs nothing but a step up to 2^-8 wider. Symmetric: no zero point.

Sources: vLLM's int8_per_token_head and fp8_per_token_head (pull request 38378, 2026), whose scales
are float32; symmetric steps, Xiao et al., "SmoothQuant", 2023, eq. 1; e4m3, Micikevicius et al.,
"FP8 formats for deep learning", 2022, table 1.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..batch import ContiguousBatch, PagedBatch
from ..division import divided
from ..quantized_kv import SCALE_DTYPE, QuantizedKV
from ..registry import implements
from .attention import contiguous_attention, paged_attention

LARGEST_CODE = {torch.int8: 127.0, torch.float8_e4m3fn: 448.0}
# A head of zeros has codes of zero under any scale; this one divides without a NaN.
LEAST_SCALE = torch.finfo(SCALE_DTYPE).tiny


def quantize(x: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """x [..., head_dim] -> codes [..., head_dim] of `dtype`, scales [...] in bfloat16.

    A head with an infinity or a NaN becomes NaN. Raises KeyError for a dtype that has no codes.
    """
    largest = LARGEST_CODE[dtype]
    wide = x.float()
    peaks = wide.abs().amax(-1)
    scales = divided(peaks, largest).clamp_min(LEAST_SCALE).to(SCALE_DTYPE)
    steps = wide / scales.float().unsqueeze(-1)
    if not dtype.is_floating_point:
        steps = steps.round()
    # A scale that was rounded down asks for a little more than the largest code.
    return steps.clamp(-largest, largest).to(dtype), scales


def dequantize(codes: Tensor, scales: Tensor) -> Tensor:
    """codes [..., head_dim], scales [...] -> float32 [..., head_dim]."""
    return codes.float() * scales.float().unsqueeze(-1)


@implements("quantized_cache_write", backend="reference", priority=-100)
def quantized_cache_write(k: Tensor, v: Tensor, cache: QuantizedKV, slot_mapping: Tensor) -> None:
    """Token t's key and value, as codes and scales, go to flat slot `slot_mapping[t]`, in place.

    k, v [T, kv_heads, head_dim]: any strides. slot_mapping int64 [T], no slot twice.
    """
    slots = slot_mapping.tolist()
    for x, codes, scales in (
        (k, cache.keys, cache.key_scales),
        (v, cache.values, cache.value_scales),
    ):
        code_slots, scale_slots = codes.view(-1, *x.shape[1:]), scales.view(-1, x.shape[1])
        for token, slot in zip(x, slots, strict=True):
            code_slots[slot], scale_slots[slot] = quantize(token, codes.dtype)


@implements("quantized_paged_attention", backend="reference", priority=-100)
def quantized_paged_attention(
    q: Tensor,
    cache: QuantizedKV,
    batch: PagedBatch,
    scale: float,
    window: int | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """`paged_attention` over the numbers that the codes stand for."""
    keys = dequantize(cache.keys, cache.key_scales)
    values = dequantize(cache.values, cache.value_scales)
    return paged_attention(q, keys, values, batch, scale, window, out)


@implements("quantized_contiguous_attention", backend="reference", priority=-100)
def quantized_contiguous_attention(
    q: Tensor,
    cache: QuantizedKV,
    batch: ContiguousBatch,
    scale: float,
    window: int | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """`contiguous_attention` over the numbers that the codes stand for."""
    keys = dequantize(cache.keys, cache.key_scales)
    values = dequantize(cache.values, cache.value_scales)
    return contiguous_attention(q, keys, values, batch, scale, window, out)
