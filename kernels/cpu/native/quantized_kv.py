"""The eight-bit KV cache for bfloat16, read and written where it lies.

PyTorch's way takes ten operators to write a layer's tokens and, as for the plain cache, several a
sequence to read them.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ...batch import AttentionBatch
from ...quantized_kv import QuantizedKV
from ...registry import implements
from .. import quantized_kv
from .attention import DTYPES, AttentionCalls
from .build import TARGETS
from .library import Native


class NativeQuantizedAttention:
    """Attention over the caches of one layout by `native`. portable: the same by PyTorch, for what
    the library does not read."""

    def __init__(self, native: Native, portable: Callable[..., Tensor]) -> None:
        self._native = native
        self._portable = portable
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
        if call is None or not _is_flat(cache) or not (out is None or out.is_contiguous()):
            return self._portable(q, cache, batch, scale, window, out)
        out = torch.empty_like(q, memory_format=torch.contiguous_format) if out is None else out
        library = self._native.library
        library.attention(
            *(call, q.data_ptr(), cache.keys.data_ptr(), cache.values.data_ptr()),
            *(cache.key_scales.data_ptr(), cache.value_scales.data_ptr(), out.data_ptr()),
            *(torch.get_num_threads(), library.parallel),
        )
        return out


class NativeQuantizedCacheWrite:
    """`quantized_cache_write` by `native`."""

    def __init__(self, native: Native) -> None:
        self._native = native

    def __call__(self, k: Tensor, v: Tensor, cache: QuantizedKV, slot_mapping: Tensor) -> None:
        """As the reference, bit by bit where it is finite."""
        if not (_is_rows(k) and _is_rows(v) and _is_flat(cache) and slot_mapping.is_contiguous()):
            quantized_kv.quantized_cache_write(k, v, cache, slot_mapping)
            return
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


def _is_e4m3(cache: QuantizedKV) -> bool:
    return cache.keys.dtype == torch.float8_e4m3fn


def _is_rows(x: Tensor) -> bool:
    """bfloat16 [tokens, heads, head_dim] whose tokens lie whole, at any distance."""
    return x.dtype == torch.bfloat16 and x.stride(2) == 1 and x.stride(1) == x.shape[2]


def _is_flat(cache: QuantizedKV) -> bool:
    return all(tensor.is_contiguous() for tensor in vars(cache).values())


for _target in TARGETS:
    _native = Native(_target)
    implements(
        "quantized_cache_write",
        backend=f"native-{_target.name}",
        when=_native.runs,
        priority=_target.priority,
        needs=_native.missing,
    )(NativeQuantizedCacheWrite(_native))
    for _op, _portable in (
        ("quantized_paged_attention", quantized_kv.quantized_paged_attention),
        ("quantized_contiguous_attention", quantized_kv.quantized_contiguous_attention),
    ):
        implements(
            _op,
            backend=f"native-{_target.name}",
            when=_native.runs_in(*DTYPES),
            priority=_target.priority,
            needs=_native.missing,
        )(NativeQuantizedAttention(_native, _portable))
