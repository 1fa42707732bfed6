"""Carries out the moves of keys and values that a step asks for: copies on write, and swaps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from time import perf_counter

import torch
from torch import Tensor

from ...kernels.huge_pages import populate
from ..device import put_on
from ..kv.base import Move, MoveKind


def allocate_host(cache: Sequence[Tensor], units: int, *, populated: bool = False) -> list[Tensor]:
    """Room on the host for `units` units of each device tensor; pinned beside an accelerator.

    populated: beside a CPU too its memory is taken now, and no swap waits for it.
    """
    host = [
        torch.empty(
            (units, *tensor.shape[1:]),
            dtype=tensor.dtype,
            pin_memory=tensor.device.type == "cuda",
        )
        for tensor in cache
    ]
    return [populate(tensor) for tensor in host] if populated else host


def carry_out(moves: Sequence[Move], cache: Sequence[Tensor], host: Sequence[Tensor]) -> float:
    """Moves in order; the host's seconds for those to and from it, which a preemption asked for, as
    a copy does not. An accelerator makes them later, in the order of its stream. cache, host:
    tensors whose first dimension is the unit of the moves."""
    swapping_s = 0.0
    for kind, run in groupby(moves, key=_kind):
        start_s = perf_counter()
        _carry_out_run(kind, list(run), cache, host)
        if kind != "copy":
            swapping_s += perf_counter() - start_s
    return swapping_s


def _kind(move: Move) -> MoveKind:
    return move.kind


def _carry_out_run(
    kind: MoveKind, run: Sequence[Move], cache: Sequence[Tensor], host: Sequence[Tensor]
) -> None:
    """Moves of one kind."""
    sources = [move.source + i for move in run for i in range(move.length)]
    targets = [move.target + i for move in run for i in range(move.length)]
    if kind == "copy" and set(sources) & set(targets):
        # One may read what the one before it wrote.
        for source, target in zip(sources, targets, strict=True):
            for tensor in map(_bytes, cache):
                tensor[target] = tensor[source]
        return
    # Of several into one unit the last stays; written at once, any of them might.
    last = dict(zip(targets, sources, strict=True))
    if kind != "copy":
        _swap(kind, last, cache, host)
        return
    device = cache[0].device
    written, read = (
        put_on(device, torch.tensor(units)) for units in zip(*last.items(), strict=True)
    )
    for tensor in map(_bytes, cache):
        tensor[written] = tensor[read]


def _swap(
    kind: MoveKind, source_of: Mapping[int, int], cache: Sequence[Tensor], host: Sequence[Tensor]
) -> None:
    """Straight between pinned memory and the device, in neighbouring units at a time; nothing
    waits. The host never looks at what lies in its pool: whatever reads it, or takes its place, is
    a later copy of the same stream."""
    pieces = _neighbours(source_of)
    for on_device, on_host in zip(map(_bytes, cache), map(_bytes, host), strict=True):
        read, write = (on_host, on_device) if kind == "in" else (on_device, on_host)
        for source, target, length in pieces:
            rows = read[source : source + length]
            write[target : target + length].copy_(rows, non_blocking=True)


def _neighbours(source_of: Mapping[int, int]) -> list[tuple[int, int, int]]:
    """Source, target and length of each run of units that lie side by side in both places."""
    found: list[tuple[int, int, int]] = []
    for target, source in sorted(source_of.items()):
        first, into, length = found[-1] if found else (0, 0, 0)
        if length and (source, target) == (first + length, into + length):
            found[-1] = (first, into, length + 1)
        else:
            found.append((source, target, 1))
    return found


def _bytes(tensor: Tensor) -> Tensor:
    """The same memory; codes as bytes, for not every PyTorch moves e4m3 by index everywhere."""
    return tensor.view(torch.uint8) if tensor.dtype.itemsize == 1 else tensor
