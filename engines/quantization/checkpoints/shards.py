"""Safetensors files written a tensor at a time, so that a model of any size takes the memory of one
parameter: safetensors' own writer wants all of a file's tensors at once, and copies them.

A file is a header that says where each tensor lies, then their bytes without gaps. Room for the
header is left free until the tensors are there; spaces fill what is over, as the format allows.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import Tensor

from ...models.loader import INDEX_FILE, SINGLE_FILE

_DTYPES = {
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int8: "I8",
    torch.uint8: "U8",
}
_ALIGNMENT = 8
# Of a tensor in the header, less its name: 100 with offsets of 13 digits.
_ENTRY_BYTES = 128
# Tensors that wait for a file's end; see `_TensorFile.add`.
_WAITING_BYTES = 64 * 2**20


def header_room(names: Iterable[str]) -> int:
    """Bytes that are enough for a header of tensors with names as long as these."""
    size = _ENTRY_BYTES + _entries_bytes(names)
    return -(-size // _ALIGNMENT) * _ALIGNMENT


def write_shards(
    directory: Path, parameters: Iterator[Mapping[str, Tensor]], shard_bytes: int, room: int
) -> None:
    """The tensors of each parameter, in one file, or in several of at most shard_bytes (or a
    parameter) and their index. room: for the header of one; where it is used up, the next begins.
    """
    shards: list[list[str]] = []
    total = 0
    following = next(parameters, None)
    while following is not None:
        with _TensorFile(directory / _partial(len(shards)), room) as file:
            file.add(following)
            for following in parameters:
                if not file.takes(following, shard_bytes):
                    break
                file.add(following)
            else:
                following = None
        shards.append(file.names)
        total += file.bytes
    if len(shards) == 1:
        (directory / _partial(0)).rename(directory / SINGLE_FILE)
        return
    weight_map = {}
    for index, names in enumerate(shards):
        name = f"model-{index + 1:05}-of-{len(shards):05}.safetensors"
        (directory / _partial(index)).rename(directory / name)
        weight_map |= dict.fromkeys(names, name)
    text = json.dumps({"metadata": {"total_size": total}, "weight_map": weight_map}, indent=2)
    (directory / INDEX_FILE).write_text(text, encoding="utf-8")


def _entries_bytes(names: Iterable[str]) -> int:
    return sum(len(name) + _ENTRY_BYTES for name in names)


def _partial(index: int) -> str:
    return f".shard-{index}.safetensors"


class _TensorFile:
    """One file, whole and on the disk where its block ends without an error."""

    def __init__(self, path: Path, room: int) -> None:
        self._file = path.open("wb")
        self._room = room
        self._header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
        self._waiting: dict[str, Tensor] = {}
        self._header_bytes = header_room(())
        self._written = 0
        self.bytes = 0
        self.names: list[str] = []

    def takes(self, tensors: Mapping[str, Tensor], limit: int) -> bool:
        """Whether there is room for them in a file of at most `limit` bytes."""
        waiting = sum(tensor.nbytes for tensor in self._waiting.values())
        return (
            self.bytes + sum(tensor.nbytes for tensor in tensors.values()) <= limit
            and self._header_bytes + _entries_bytes(tensors) <= self._room
            and waiting <= _WAITING_BYTES
        )

    def add(self, tensors: Mapping[str, Tensor]) -> None:
        """Write them, but for those that would leave the next where no number may begin: of an odd
        length, mostly a scalar. They follow at the end, the widest numbers first."""
        self._header_bytes += _entries_bytes(tensors)
        for name, tensor in tensors.items():
            self.bytes += tensor.nbytes
            self.names.append(name)
            if tensor.nbytes % _ALIGNMENT:
                self._waiting[name] = tensor
            else:
                self._append(name, tensor)

    def _append(self, name: str, tensor: Tensor) -> None:
        if not self._written:
            self._file.seek(8 + self._room)
        end = self._written + tensor.nbytes
        self._header[name] = {
            "dtype": _DTYPES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [self._written, end],
        }
        plain = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        self._file.write(plain.numpy().data)
        self._written = end

    def __enter__(self) -> _TensorFile:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        error: BaseException | None,
        _: TracebackType | None,
    ) -> None:
        with self._file:
            if error is not None:
                return
            widest_first = sorted(self._waiting.items(), key=lambda one: -one[1].element_size())
            for name, tensor in widest_first:
                self._append(name, tensor)
            header = json.dumps(self._header, separators=(",", ":")).encode()
            self._file.seek(0)
            self._file.write(self._room.to_bytes(8, "little") + header.ljust(self._room))
            self._file.flush()
            os.fsync(self._file.fileno())
