"""Memory that a kernel reuses from call to call: fresh pages cost more than what is done in them.

Shared by all calls on a device, so kernels that use it are not for two threads at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

_buffers: dict[tuple[str, torch.device, torch.dtype], Tensor] = {}
# A graph that was captured on an accelerator knows a buffer by its address, so what was outgrown
# stays there; all of it together is smaller than what is in use.
_outgrown: list[Tensor] = []


def scratch(use: str, shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> Tensor:
    """A contiguous tensor of `shape` with arbitrary contents, valid until the next call with the
    same `use`, dtype and device."""
    size = prod(shape)
    buffer = _buffers.get((use, device, dtype))
    if buffer is None or buffer.numel() < size:
        # Powers of two: lengths that grow by a token a step must not allocate at each.
        room = 1 << max(size - 1, 0).bit_length()
        # A tensor born in inference mode could not be written outside it.
        with torch.inference_mode(False):
            larger = torch.empty(room, dtype=dtype, device=device)
        if buffer is not None and device.type != "cpu":
            _outgrown.append(buffer)
        _buffers[use, device, dtype] = buffer = larger
    return buffer[:size].view(*shape)
