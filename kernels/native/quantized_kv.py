"""The eight-bit KV cache for bfloat16, read and written where it lies.

PyTorch's way takes ten operators to write a layer's tokens and, as for the plain cache, several a
sequence to read them.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..batch import AttentionBatch
from ..quantized_kv import QuantizedKV
from .attention import DTYPES, AttentionCalls, reads
from .library import Native
from .register import register


class NativeQuantizedAttention:
    """Attention over the caches of one layout by `native`, of a call that `takes_attention`."""

    def __init__(self, native: Native) -> None:
        self._native = native
        self._calls = AttentionCalls()

    def __call__(
        self,
        q: Tensor,
        cache: QuantizedKV,
        batch: AttentionBatch,
        scale: float,
        window: int | None = None,
        out: Tensor | None = None,
    ) -> Tensor:
        """As the reference."""
        call = self._calls.call(q, cache.keys, batch, scale, window)
        out = torch.empty_like(q, memory_format=torch.contiguous_format) if out is None else out
        library = self._native.library
        library.attention(
            *(call, q.data_ptr(), cache.keys.data_ptr(), cache.values.data_ptr()),
            *(cache.key_scales.data_ptr(), cache.value_scales.data_ptr(), out.data_ptr()),
            *(torch.get_num_threads(), library.parallel),
        )
        return out


class NativeQuantizedCacheWrite:
    """`quantized_cache_write` by `native`, of a call that `takes_write`."""

    def __init__(self, native: Native) -> None:
        self._native = native

    def __call__(self, k: Tensor, v: Tensor, cache: QuantizedKV, slot_mapping: Tensor) -> None:
        """As the reference, bit by bit where it is finite."""
        library = self._native.library
        for x, codes, scales in (
            (k, cache.keys, cache.key_scales),
            (v, cache.values, cache.value_scales),
        ):
            library.quantized_write(
                *(x.data_ptr(), x.stride(0), codes.data_ptr(), scales.data_ptr()),
                *(_is_e4m3(cache), slot_mapping.data_ptr(), *x.shape),
                *(torch.get_num_threads(), library.parallel),
            )


def takes_attention(
    q: Tensor,
    cache: QuantizedKV,
    batch: AttentionBatch,
    scale: float,  # noqa: ARG001
    window: int | None = None,  # noqa: ARG001
    out: Tensor | None = None,
) -> bool:
    """A cache whose parts lie whole, and what `reads` says."""
    return reads(q, batch, out) and _is_flat(cache)


def takes_write(k: Tensor, v: Tensor, cache: QuantizedKV, slot_mapping: Tensor) -> bool:
    """Rows of bfloat16, a cache whose parts lie whole, and slots one after the other."""
    return _is_rows(k) and _is_rows(v) and _is_flat(cache) and slot_mapping.is_contiguous()


def _is_e4m3(cache: QuantizedKV) -> bool:
    return cache.keys.dtype == torch.float8_e4m3fn


def _is_rows(x: Tensor) -> bool:
    """bfloat16 [tokens, heads, head_dim] whose tokens lie whole, at any distance."""
    return x.dtype is torch.bfloat16 and x.is_cpu and x.stride(2) == 1 and x.stride(1) == x.shape[2]


def _is_flat(cache: QuantizedKV) -> bool:
    return all(tensor.is_contiguous() for tensor in vars(cache).values())


register("quantized_cache_write", NativeQuantizedCacheWrite, takes=takes_write)
for _op in ("quantized_paged_attention", "quantized_contiguous_attention"):
    register(_op, NativeQuantizedAttention, dtypes=DTYPES, takes=takes_attention)
