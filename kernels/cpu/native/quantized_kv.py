"""The eight-bit KV cache for bfloat16, read and written where it lies.

PyTorch's way takes ten operators to write a layer's tokens and, as for the plain cache, several a
sequence to read them. Sequences with more than one new token are read that way still.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import torch
from torch import Tensor

from ...batch import AttentionBatch, PagedBatch
from ...quantized_kv import QuantizedKV
from ...registry import implements
from .. import quantized_kv
from .attention import HEAD_DIM_MULTIPLE, UNBOUNDED, int64s
from .build import TARGETS
from .library import Native


class NativeQuantizedAttention:
    """Attention over a paged or contiguous cache, by `native` for the sequences that have one new
    token. plain: the operation for the others."""

    def __init__(self, native: Native, plain: Callable[..., Tensor]) -> None:
        self._native = native
        self._plain = plain

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
        contexts, decodes = batch.parts
        if decodes is None or not _reads(q, cache, decodes, out):
            return self._plain(q, cache, batch, scale, window, out)
        out = q.new_empty(q.shape) if out is None else out
        split = 0
        if contexts is not None:
            split = sum(contexts.query_lengths)
            self._plain(q[:split], cache, contexts, scale, window, out[:split])
        self._decode(q[split:], cache, decodes, scale, window, out[split:])
        return out

    def _decode(
        self,
        q: Tensor,
        cache: QuantizedKV,
        batch: AttentionBatch,
        scale: float,
        window: int | None,
        out: Tensor,
    ) -> None:
        library = self._native.library
        sequences, heads, head_dim = q.shape
        kv_heads = cache.keys.shape[-2]
        lengths = int64s(batch.kv_lengths)
        if isinstance(batch, PagedBatch):
            tables, block = batch.block_tables, cache.keys.shape[1]
            places = (tables.data_ptr(), tables.stride(0), block, block)
        else:
            places = (ctypes.addressof(int64s(batch.starts)), 1, UNBOUNDED, 1)
        library.quantized_decode_attention(
            *(q.data_ptr(), q.stride(0), cache.keys.data_ptr(), cache.values.data_ptr()),
            *(cache.key_scales.data_ptr(), cache.value_scales.data_ptr(), _is_e4m3(cache)),
            *(out.data_ptr(), *places, ctypes.addressof(lengths)),
            *(sequences, kv_heads, heads // kv_heads, head_dim),
            *(UNBOUNDED if window is None else window, scale),
            *(torch.get_num_threads(), library.parallel),
        )


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


def _reads(q: Tensor, cache: QuantizedKV, decodes: AttentionBatch, out: Tensor | None) -> bool:
    """bfloat16, in the layouts that the library reads from bare pointers."""
    return (
        _is_rows(q)
        and q.shape[2] % HEAD_DIM_MULTIPLE == 0
        and _is_flat(cache)
        and (not isinstance(decodes, PagedBatch) or decodes.block_tables.stride(-1) == 1)
        and (out is None or out.is_contiguous())
    )


for _target in TARGETS:
    _native = Native(_target)
    for _op, _kernel in (
        ("quantized_cache_write", NativeQuantizedCacheWrite(_native)),
        (
            "quantized_paged_attention",
            NativeQuantizedAttention(_native, quantized_kv.quantized_paged_attention),
        ),
        (
            "quantized_contiguous_attention",
            NativeQuantizedAttention(_native, quantized_kv.quantized_contiguous_attention),
        ),
    ):
        implements(
            _op,
            backend=f"native-{_target.name}",
            when=_native.runs,
            priority=_target.priority,
            needs=_native.missing,
        )(_kernel)
