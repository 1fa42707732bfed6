"""Memory in huge pages, for what a step reads from end to end: weights, keys and values; and memory
that is there before a step needs it.

Every 4 KiB that are read once cost a walk of the page table, which takes a virtual machine twice as
many steps, and a stop of the processor's prefetcher, which crosses no page. The same reads from
pages of 2 MiB move about a third more bytes a second.
"""

from __future__ import annotations

import mmap
from contextlib import suppress
from math import prod

import torch
from torch import Tensor

PAGE_BYTES = 2 << 20
# Of address space: what nobody has touched takes no memory.
PIECE_BYTES = 64 << 20
_LINE_BYTES = 64


class HugePages:
    """Hands out memory, one tensor behind the other in the order of asking.

    A tensor keeps the piece that it lies in alive; nothing else does but the last piece, which has
    room for more. Where the system gives no huge pages, they are ordinary ones.
    """

    def __init__(self) -> None:
        self._piece: mmap.mmap | None = None
        self._used_bytes = 0

    def zeros(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """On the CPU; begins at a multiple of 64 bytes. Read or written nowhere yet, it takes no
        memory."""
        size_bytes = prod(shape) * dtype.itemsize
        if not size_bytes:
            return torch.zeros(shape, dtype=dtype)
        start = -(-self._used_bytes // _LINE_BYTES) * _LINE_BYTES
        if self._piece is None or start + size_bytes > len(self._piece):
            self._piece, start = _piece(max(size_bytes, PIECE_BYTES)), 0
        self._used_bytes = start + size_bytes
        room = torch.frombuffer(self._piece, dtype=torch.uint8, count=size_bytes, offset=start)
        return room.view(dtype).view(shape)

    def copy(self, tensor: Tensor) -> Tensor:
        """The same elements, contiguous."""
        return self.zeros(tuple(tensor.shape), tensor.dtype).copy_(tensor)


def populate(unused: Tensor) -> Tensor:
    """The same, its memory taken from the system: of a CPU's a page is given when something is
    first written to it, and the writer waits for that. unused: of zeros, or of nothing yet."""
    if unused.device.type == "cpu":
        unused.view(torch.uint8).flatten()[:: mmap.PAGESIZE].zero_()
    return unused


def _piece(size_bytes: int) -> mmap.mmap:
    """Zeros."""
    rounded = -(-size_bytes // PAGE_BYTES) * PAGE_BYTES
    piece = mmap.mmap(-1, rounded, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(OSError, AttributeError):  # a system that knows none
        piece.madvise(mmap.MADV_HUGEPAGE)
    return piece
