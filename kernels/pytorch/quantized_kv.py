"""The eight-bit KV cache through PyTorch's operators, on any PyTorch device.

One sequence at a time is widened to the queries' dtype, in scratch that every call reuses, and read
as a contiguous cache of its own: never more than the longest sequence is held wide.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from ..batch import ContiguousBatch, PagedBatch
from ..quantized_kv import QuantizedKV
from ..reference.quantized_kv import quantize
from ..registry import implements
from ..scratch import scratch
from .attention import contiguous_attention, first_seen


@implements("quantized_cache_write", backend="torch")
def quantized_cache_write(k: Tensor, v: Tensor, cache: QuantizedKV, slot_mapping: Tensor) -> None:
    """As the reference, keys and values together, with one scatter a tensor."""
    codes, scales = quantize(torch.stack((k, v)), cache.keys.dtype)
    for new, slots in zip(_bytes(codes), (cache.keys, cache.values), strict=True):
        _bytes(slots).view(-1, *new.shape[1:]).index_copy_(0, slot_mapping, new)
    for new, slots in zip(scales, (cache.key_scales, cache.value_scales), strict=True):
        slots.view(-1, *new.shape[1:]).index_copy_(0, slot_mapping, new)


@implements("quantized_paged_attention", backend="torch")
def quantized_paged_attention(
    q: Tensor,
    cache: QuantizedKV,
    batch: PagedBatch,
    scale: float,
    window: int | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """As the reference. Not for two threads at once: they would share the scratch."""
    out = torch.empty_like(q, memory_format=torch.contiguous_format) if out is None else out
    block_size = cache.keys.shape[1]
    token = 0
    for length, kv_length, table in zip(
        batch.query_lengths, batch.kv_lengths, batch.tables, strict=True
    ):
        first = first_seen(length, kv_length, window) // block_size
        blocks = table[first : -(-kv_length // block_size)]
        run, tokens = slice(kv_length - first * block_size), slice(token, token + length)
        keys = _widened("keys", *_gathered(cache.keys, cache.key_scales, blocks, run), q.dtype)
        values = _widened(
            "values", *_gathered(cache.values, cache.value_scales, blocks, run), q.dtype
        )
        _attend(q[tokens], keys, values, scale, window, out[tokens])
        token += length
    return out


@implements("quantized_contiguous_attention", backend="torch")
def quantized_contiguous_attention(
    q: Tensor,
    cache: QuantizedKV,
    batch: ContiguousBatch,
    scale: float,
    window: int | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """As the reference. Not for two threads at once: they would share the scratch."""
    out = torch.empty_like(q, memory_format=torch.contiguous_format) if out is None else out
    token = 0
    for length, kv_length, start in zip(
        batch.query_lengths, batch.kv_lengths, batch.starts, strict=True
    ):
        run = slice(start + first_seen(length, kv_length, window), start + kv_length)
        tokens = slice(token, token + length)
        keys = _widened("keys", cache.keys[run], cache.key_scales[run], q.dtype)
        values = _widened("values", cache.values[run], cache.value_scales[run], q.dtype)
        _attend(q[tokens], keys, values, scale, window, out[tokens])
        token += length
    return out


def _bytes(codes: Tensor) -> Tensor:
    """The same memory: PyTorch moves bytes, but not every kind of code, by index."""
    return codes.view(torch.uint8)


def _gathered(codes: Tensor, scales: Tensor, blocks: Tensor, run: slice) -> tuple[Tensor, Tensor]:
    """Tokens `run` of the blocks in a row, valid until the next call."""
    device = codes.device
    code_room = scratch("kv codes", (len(blocks), *codes.shape[1:]), torch.uint8, device)
    scale_room = scratch("kv scales", (len(blocks), *scales.shape[1:]), scales.dtype, device)
    torch.index_select(_bytes(codes), 0, blocks, out=code_room)
    torch.index_select(scales, 0, blocks, out=scale_room)
    return code_room.view(codes.dtype).flatten(0, 1)[run], scale_room.flatten(0, 1)[run]


def _widened(which: str, codes: Tensor, scales: Tensor, dtype: torch.dtype) -> Tensor:
    """codes [S, kv_heads, head_dim] times scales, in scratch of `dtype`.

    A code has no more significant bits than bfloat16: only the product is rounded.
    """
    room = scratch(f"wide {which}", codes.shape, dtype, codes.device)
    if codes.dtype == torch.int8:
        room.copy_(codes)
    else:
        # PyTorch converts e4m3 on a CPU one by one: looking the number up is six times as fast.
        at = scratch("kv code numbers", (codes.numel(),), torch.int32, codes.device)
        at.view(codes.shape).copy_(_bytes(codes))
        numbers = _e4m3_numbers(dtype, codes.device)
        torch.index_select(numbers, 0, at, out=room.flatten())
    return room.mul_(scales.unsqueeze(-1))


@lru_cache(maxsize=8)
def _e4m3_numbers(dtype: torch.dtype, device: torch.device) -> Tensor:
    """[256]: what each code stands for."""
    codes = torch.arange(256, dtype=torch.uint8, device=device)
    return codes.view(torch.float8_e4m3fn).to(dtype)


def _attend(
    q: Tensor, keys: Tensor, values: Tensor, scale: float, window: int | None, out: Tensor
) -> None:
    """The last len(q) tokens of one sequence, whose seen keys and values these are."""
    batch = ContiguousBatch((len(q),), (len(keys),), (0,))
    contiguous_attention(q, keys, values, batch, scale, window, out)
