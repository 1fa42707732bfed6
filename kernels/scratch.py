"""Memory that a kernel reuses from call to call: fresh pages cost more than what is done in them.

Shared by all calls on a device, so kernels that use it are not for two threads at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

_buffers: dict[tuple[str, torch.device, torch.dtype], Tensor] = {}
# A CUDA graph writes where it was captured, whatever has been made since: by address.
_in_graphs: dict[int, Tensor] = {}


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
            buffer = torch.empty(room, dtype=dtype, device=device)
        _buffers[use, device, dtype] = buffer
    if _captures(device):
        _in_graphs[buffer.data_ptr()] = buffer
    return buffer[:size].view(*shape)


def _captures(device: torch.device) -> bool:
    return device.type == "cuda" and torch.cuda.is_current_stream_capturing()
