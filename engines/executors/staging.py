"""A step's inputs in one piece of memory, so that one copy brings them to the device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from math import prod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .inputs import StepInputs

# Host buffers: one is written while a device may still copy the other.
_TURNS = 2

Words = NDArray[np.int32]
# Fields begin at multiples of 16 bytes: Triton compiles a kernel anew for a pointer that does not.
_ALIGNED_WORDS = 4
_WORDS = {torch.int32: 1, torch.int64: 2}
_NUMPY = {torch.int32: np.int32, torch.int64: np.int64}


@dataclass(frozen=True)
class Field:
    """One tensor of int32 or int64."""

    shape: tuple[int, ...]
    dtype: torch.dtype = torch.int64

    @property
    def words(self) -> int:
        """Its room, in 4-byte words."""
        return -(-prod(self.shape) * _WORDS[self.dtype] // _ALIGNED_WORDS) * _ALIGNED_WORDS


class PackedFields:
    """Where fields lie in a packed buffer of 4-byte words, one behind the other."""

    def __init__(self, fields: Mapping[str, Field]) -> None:
        self.fields = dict(fields)
        ends = [*accumulate(field.words for field in fields.values())]
        self.words = ends[-1] if ends else 0
        starts = [end - field.words for end, field in zip(ends, fields.values(), strict=True)]
        self._starts = dict(zip(fields, starts, strict=True))

    def start_of(self, name: str) -> int:
        """Where a field begins, in words."""
        return self._starts[name]

    def views(self, packed: Tensor) -> dict[str, Tensor]:
        """The fields of a buffer int32 [words or more], on any device, without a copy."""
        found: dict[str, Tensor] = {}
        for name, field in self.fields.items():
            start, size = self._starts[name], prod(field.shape)
            room = packed[start : start + size * _WORDS[field.dtype]]
            found[name] = room.view(field.dtype).view(field.shape)
        return found

    def arrays(self, packed: Words) -> dict[str, NDArray[Any]]:
        """The same of a host buffer, to write."""
        found: dict[str, NDArray[Any]] = {}
        for name, field in self.fields.items():
            start, size = self._starts[name], prod(field.shape)
            room = packed[start : start + size * _WORDS[field.dtype]]
            found[name] = room.view(_NUMPY[field.dtype]).reshape(field.shape)
        return found


def form_of(inputs: StepInputs) -> PackedFields:
    """Room for exactly these inputs."""
    tokens, sequences = len(inputs.token_ids), len(inputs.query_lengths)
    longest = max(map(len, inputs.tables), default=0)
    return PackedFields(
        {
            "token_ids": Field((tokens,)),
            "positions": Field((tokens,)),
            "slots": Field((tokens,)),
            "logit_rows": Field((len(inputs.logit_rows),)),
            "awaited": Field((len(inputs.awaited),)),
            "awaited_rows": Field((len(inputs.awaited),)),
            "query_starts": Field((sequences + 1,), torch.int32),
            "kv_lengths": Field((sequences,), torch.int32),
            **_places(sequences, longest, paged=bool(inputs.tables)),
        }
    )


def decode_form(sequences: int, table_blocks: int | None) -> PackedFields:
    """Room for any step of `sequences` decodes. table_blocks: blocks of the longest sequence; None:
    the cache is contiguous. Who is awaited fills the front of its fields."""
    return PackedFields(
        {
            "token_ids": Field((sequences,)),
            "positions": Field((sequences,)),
            "slots": Field((sequences,)),
            "awaited": Field((sequences,)),
            "awaited_rows": Field((sequences,)),
            "query_starts": Field((sequences + 1,), torch.int32),
            "kv_lengths": Field((sequences,), torch.int32),
            **_places(sequences, table_blocks or 0, paged=table_blocks is not None),
        }
    )


def _places(sequences: int, longest: int, *, paged: bool) -> dict[str, Field]:
    return {"tables": Field((sequences, longest))} if paged else {"starts": Field((sequences,))}


def fill(form: PackedFields, packed: Words, inputs: StepInputs) -> None:
    """Write inputs into a host buffer. Blocks past a sequence's last are left as they were: they
    are never read."""
    arrays = form.arrays(packed)
    for name in ("token_ids", "positions", "slots", "kv_lengths"):
        arrays[name][:] = getattr(inputs, name)
    if "logit_rows" in arrays:
        arrays["logit_rows"][:] = inputs.logit_rows
    for name in ("awaited", "awaited_rows"):
        arrays[name][: len(inputs.awaited)] = getattr(inputs, name)
    arrays["query_starts"][0] = 0
    np.cumsum(inputs.query_lengths, out=arrays["query_starts"][1:])
    if "starts" in arrays:
        arrays["starts"][:] = inputs.starts
    else:
        for row, table in zip(arrays["tables"], inputs.tables, strict=True):
            row[: len(table)] = table


def host_tensors(inputs: StepInputs) -> dict[str, Tensor]:
    """What a model reads that runs where the inputs are: tensors of their own, without a buffer to
    copy. Blocks past a sequence's last are 0 and never read."""
    fields = ["token_ids", "positions", "slots", "logit_rows"]
    if inputs.awaited:
        fields += ["awaited", "awaited_rows"]
    found = {name: torch.tensor(getattr(inputs, name), dtype=torch.int64) for name in fields}
    if inputs.tables:
        longest = max(map(len, inputs.tables))
        padded = [table + [0] * (longest - len(table)) for table in inputs.tables]
        found["tables"] = torch.tensor(padded, dtype=torch.int64)
    return found


class Staging:
    """Host buffers that take turns, one a step: pinned where a device copies from them.

    A buffer is written anew _TURNS steps later, when the copy out of it is long done.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pinned = device.type == "cuda"
        self._buffers = [self._allocate(0) for _ in range(_TURNS)]
        self._copied: list[torch.cuda.Event | None] = [None] * _TURNS
        self._turn = 0

    def write(self, form: PackedFields, inputs: StepInputs) -> Tensor:
        """The inputs in a host buffer, int32 [form.words]."""
        self._turn = (self._turn + 1) % len(self._buffers)
        copied = self._copied[self._turn]
        if copied is not None:
            copied.synchronize()
        if len(self._buffers[self._turn]) < form.words:
            self._buffers[self._turn] = self._allocate(form.words)
        packed = self._buffers[self._turn][: form.words]
        fill(form, packed.numpy(), inputs)
        return packed

    def to_device(self, packed: Tensor, into: Tensor | None = None) -> Tensor:
        """The buffer written last on the device, without waiting; on a CPU it is there. into: a
        device buffer to copy it to, at least as long; else a fresh one."""
        if into is not None:
            target = into[: len(packed)].copy_(packed, non_blocking=True)
        else:
            target = packed.to(self._device, non_blocking=True)
        if self._pinned:
            event = self._copied[self._turn] or torch.cuda.Event()
            event.record()
            self._copied[self._turn] = event
        return target

    def _allocate(self, words: int) -> Tensor:
        """A power of two, so that a run's steps soon find room."""
        room = 1 << max(12, (words - 1).bit_length())
        # Zeros: what is never read should still be a block that exists.
        return torch.zeros(room, dtype=torch.int32, pin_memory=self._pinned)
