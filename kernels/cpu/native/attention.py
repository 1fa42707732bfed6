"""Decode attention in bfloat16, read where the cache lies, all sequences in one call.

PyTorch's way gathers the blocks of each sequence and calls four operators for it: 45 microseconds a
sequence and layer, whatever its length. Sequences with more than one new token, and what the kernel
does not read, go that way still.
"""

from __future__ import annotations

import ctypes
from functools import lru_cache

import torch
from torch import Tensor

from ...batch import ContiguousBatch, PagedBatch
from ...registry import implements
from .. import attention
from .build import TARGETS
from .library import Native

HEAD_DIM_MULTIPLE = 16
# A block longer than any sequence: a contiguous run is one.
UNBOUNDED = 2**62


class NativePagedAttention:
    """`paged_attention`, by `native` for the sequences that have one new token."""

    def __init__(self, native: Native) -> None:
        self._native = native

    def __call__(
        self,
        q: Tensor,
        k_cache: Tensor,
        v_cache: Tensor,
        batch: PagedBatch,
        scale: float,
        window: int | None = None,
        out: Tensor | None = None,
    ) -> Tensor:
        """As the reference."""
        contexts, decodes = batch.parts
        if decodes is None or not _takes(q, k_cache, v_cache, out):
            return attention.paged_attention(q, k_cache, v_cache, batch, scale, window, out)
        tables = decodes.block_tables
        if tables.stride(-1) != 1:
            return attention.paged_attention(q, k_cache, v_cache, batch, scale, window, out)
        out = q.new_empty(q.shape) if out is None else out
        split = 0
        if contexts is not None:
            split = sum(contexts.query_lengths)
            attention.paged_attention(
                q[:split], k_cache, v_cache, contexts, scale, window, out[:split]
            )
        block_size = k_cache.shape[1]
        _decode(
            self._native,
            *(q[split:], k_cache, v_cache, decodes.kv_lengths),
            *(tables.data_ptr(), tables.stride(0), block_size, block_size),
            *(scale, window, out[split:]),
        )
        return out


class NativeContiguousAttention:
    """`contiguous_attention`, by `native` for the sequences that have one new token."""

    def __init__(self, native: Native) -> None:
        self._native = native

    def __call__(
        self,
        q: Tensor,
        k_cache: Tensor,
        v_cache: Tensor,
        batch: ContiguousBatch,
        scale: float,
        window: int | None = None,
        out: Tensor | None = None,
    ) -> Tensor:
        """As the reference."""
        contexts, decodes = batch.parts
        if decodes is None or not _takes(q, k_cache, v_cache, out):
            return attention.contiguous_attention(q, k_cache, v_cache, batch, scale, window, out)
        out = q.new_empty(q.shape) if out is None else out
        split = 0
        if contexts is not None:
            split = sum(contexts.query_lengths)
            attention.contiguous_attention(
                q[:split], k_cache, v_cache, contexts, scale, window, out[:split]
            )
        starts = int64s(decodes.starts)
        _decode(
            self._native,
            *(q[split:], k_cache, v_cache, decodes.kv_lengths),
            *(ctypes.addressof(starts), 1, UNBOUNDED, 1),
            *(scale, window, out[split:]),
        )
        return out


def _takes(q: Tensor, k_cache: Tensor, v_cache: Tensor, out: Tensor | None) -> bool:
    """bfloat16, in the layouts that the library reads from bare pointers."""
    return (
        q.dtype == k_cache.dtype == v_cache.dtype == torch.bfloat16
        and q.shape[2] % HEAD_DIM_MULTIPLE == 0
        and q.stride(2) == 1
        and q.stride(1) == q.shape[2]
        and k_cache.is_contiguous()
        and v_cache.is_contiguous()
        and (out is None or out.is_contiguous())
    )


def _decode(
    native: Native,
    q: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    kv_lengths: tuple[int, ...],
    tables: int,
    table_stride: int,
    block: int,
    unit: int,
    scale: float,
    window: int | None,
    out: Tensor,
) -> None:
    """Into out. Token t of sequence i is in slot tables[i][t // block] · unit + t % block."""
    library = native.library
    sequences, heads, head_dim = q.shape
    kv_heads = k_cache.shape[-2]
    lengths = int64s(kv_lengths)
    library.decode_attention(
        *(q.data_ptr(), q.stride(0), k_cache.data_ptr(), v_cache.data_ptr(), out.data_ptr()),
        *(tables, table_stride, block, unit, ctypes.addressof(lengths)),
        *(sequences, kv_heads, heads // kv_heads, head_dim),
        *(UNBOUNDED if window is None else window, scale),
        *(torch.get_num_threads(), library.parallel),
    )


# Every layer of a step passes the same.
@lru_cache(maxsize=8)
def int64s(values: tuple[int, ...]) -> ctypes.Array[ctypes.c_int64]:
    """As C reads them; held by the cache while the library does."""
    return (ctypes.c_int64 * len(values))(*values)


for _target in TARGETS:
    _native = Native(_target)
    for _op, _kernel in (
        ("paged_attention", NativePagedAttention),
        ("contiguous_attention", NativeContiguousAttention),
    ):
        implements(
            _op,
            backend=f"native-{_target.name}",
            when=_native.runs,
            priority=_target.priority,
            needs=_native.missing,
        )(_kernel(_native))
