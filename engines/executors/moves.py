"""Carries out the moves of keys and values that a step asks for: copies on write, and swaps."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from time import perf_counter

import torch
from torch import Tensor

from ..device import put_on
from ..kv.base import Move, MoveKind


def allocate_host(cache: Sequence[Tensor], units: int) -> list[Tensor]:
    """Room on the host for `units` units of each device tensor; pinned beside an accelerator."""
    return [
        torch.empty(
            (units, *tensor.shape[1:]),
            dtype=tensor.dtype,
            pin_memory=tensor.device.type == "cuda",
        )
        for tensor in cache
    ]


def carry_out(moves: Sequence[Move], cache: Sequence[Tensor], host: Sequence[Tensor]) -> float:
    """Moves in order; the seconds that those to and from the host took, which a preemption asked
    for, as a copy does not. cache, host: tensors whose first dimension is the unit of the moves."""
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
    targets, sources = list(last), list(last.values())
    for on_device, on_host in zip(map(_bytes, cache), map(_bytes, host or cache), strict=True):
        read = on_host if kind == "in" else on_device
        write = on_host if kind == "out" else on_device
        rows = read[put_on(read.device, torch.tensor(sources))]
        write[put_on(write.device, torch.tensor(targets))] = rows.to(write.device)


def _bytes(tensor: Tensor) -> Tensor:
    """The same memory; codes as bytes, for not every PyTorch moves e4m3 by index everywhere."""
    return tensor.view(torch.uint8) if tensor.dtype.itemsize == 1 else tensor
