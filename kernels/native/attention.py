"""Causal attention over paged and contiguous caches, read where they lie, a batch in one call.

PyTorch's way gathers the blocks of each sequence and calls four operators for it.
"""

from __future__ import annotations

import ctypes
from itertools import accumulate

import torch
from torch import Tensor

from ..batch import AttentionBatch, PagedBatch
from .library import Native, int64s
from .register import register

HEAD_DIM_MULTIPLE = 16
DTYPES = (torch.bfloat16, torch.float32)
# A page longer than any sequence: a contiguous run is one.
UNBOUNDED = 2**62


class NativeAttention:
    """Attention over the caches of one layout by `native`, of a call that `takes`."""

    def __init__(self, native: Native) -> None:
        self._native = native
        self._calls = AttentionCalls()

    def __call__(
        self,
        q: Tensor,
        k_cache: Tensor,
        v_cache: Tensor,
        batch: AttentionBatch,
        scale: float,
        window: int | None = None,
        out: Tensor | None = None,
    ) -> Tensor:
        """As the reference."""
        call = self._calls.call(q, k_cache, batch, scale, window)
        out = torch.empty_like(q, memory_format=torch.contiguous_format) if out is None else out
        library = self._native.library
        library.attention(
            *(call, q.data_ptr(), k_cache.data_ptr(), v_cache.data_ptr(), None, None),
            *(out.data_ptr(), torch.get_num_threads(), library.parallel),
        )
        return out


class AttentionCall(ctypes.Structure):
    """`AttentionCall` of kernels.cpp."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("tables", "lengths", "starts")),
        *(
            (name, ctypes.c_int64)
            for name in ("table_stride", "page_size", "page_unit", "sequences")
        ),
        *((name, ctypes.c_int64) for name in ("kv_heads", "group", "head_dim")),
        *((name, ctypes.c_int64) for name in ("window", "q_stride")),
        *(("scale", ctypes.c_float), ("wide", ctypes.c_int32), ("codes", ctypes.c_int32)),
    )


class AttentionCalls:
    """The last call, packed for C: every layer of a step makes the same, but for its tensors.

    Keeps the last batch alive, and with it what the packed call points to.
    """

    def __init__(self) -> None:
        self._batch: AttentionBatch | None = None
        self._last: tuple[object, ...] = ()
        self._held: tuple[object, ...] = ()
        self._address = 0

    def call(
        self, q: Tensor, keys: Tensor, batch: AttentionBatch, scale: float, window: int | None
    ) -> int:
        """The address of an AttentionCall, valid until the next call."""
        last = (q.shape, q.stride(), q.dtype, keys.shape, keys.dtype, scale, window)
        if batch is not self._batch or last != self._last:
            self._batch, self._last = batch, last
            packed, held = _pack(q, keys, batch, scale, window)
            self._held = (packed, *held)
            self._address = ctypes.addressof(packed)
        return self._address


def takes(
    q: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    batch: AttentionBatch,
    scale: float,  # noqa: ARG001
    window: int | None = None,  # noqa: ARG001
    out: Tensor | None = None,
) -> bool:
    """Caches of the queries' dtype that lie whole, and what `reads` says."""
    return (
        reads(q, batch, out)
        and k_cache.dtype is q.dtype
        and v_cache.dtype is q.dtype
        and k_cache.is_contiguous()
        and v_cache.is_contiguous()
    )


def reads(q: Tensor, batch: AttentionBatch, out: Tensor | None) -> bool:
    """Whether queries, block tables and the result lie as bare pointers are read."""
    head_dim = q.shape[2]
    return (
        q.dtype in DTYPES
        and q.is_cpu
        and head_dim % HEAD_DIM_MULTIPLE == 0
        and q.stride()[1:] == (head_dim, 1)
        and (not isinstance(batch, PagedBatch) or batch.block_tables.stride(-1) == 1)
        and (out is None or out.is_contiguous())
    )


def _pack(
    q: Tensor, keys: Tensor, batch: AttentionBatch, scale: float, window: int | None
) -> tuple[AttentionCall, tuple[object, ...]]:
    """The call, and what it points to.

    Token t of sequence i is in slot tables[i][t // page_size] · page_unit + t % page_size.
    """
    kv_heads = keys.shape[-2]
    lengths = int64s(batch.kv_lengths)
    starts = int64s((0, *accumulate(batch.query_lengths)))
    if isinstance(batch, PagedBatch):
        held, page_size = batch.block_tables, keys.shape[1]
        places = (held.data_ptr(), held.stride(0), page_size, page_size)
    else:
        held = int64s(batch.starts)
        places = (ctypes.addressof(held), 1, UNBOUNDED, 1)
    tables, table_stride, page_size, page_unit = places
    call = AttentionCall(
        tables=tables,
        lengths=ctypes.addressof(lengths),
        starts=ctypes.addressof(starts),
        table_stride=table_stride,
        page_size=page_size,
        page_unit=page_unit,
        sequences=len(batch.kv_lengths),
        kv_heads=kv_heads,
        group=q.shape[1] // kv_heads,
        head_dim=q.shape[2],
        window=UNBOUNDED if window is None else window,
        q_stride=q.stride(0),
        scale=scale,
        wide=q.dtype == torch.float32,
        codes=CODES.get(keys.dtype, 0),
    )
    return call, (held, lengths, starts)


# What a cache may hold instead of what activations are.
CODES = {torch.int8: 1, torch.float8_e4m3fn: 2}


for _op in ("paged_attention", "contiguous_attention"):
    register(_op, NativeAttention, dtypes=DTYPES, takes=takes)
