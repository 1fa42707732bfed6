"""Where Triton's kernels run, known without importing Triton."""

from __future__ import annotations

import torch

DTYPES = (torch.float32, torch.float16, torch.bfloat16)
# NVIDIA's before it have 64 or 96 KB of shared memory a program, and tiles are cut for 99.
LEAST_CAPABILITY = (8, 0)


def on_gpu(device: torch.device, dtype: torch.dtype) -> bool:
    """An NVIDIA GPU of LEAST_CAPABILITY or an AMD one (PyTorch calls both `cuda`), in a dtype that
    kernels are made for."""
    return device.type == "cuda" and dtype in DTYPES and _is_large_enough(device)


def _is_large_enough(device: torch.device) -> bool:
    """Of a machine without such a device, what would be: kernels are compiled and chosen there."""
    if on_amd() or not torch.cuda.is_available():
        return True
    return torch.cuda.get_device_capability(device) >= LEAST_CAPABILITY


def interpreted() -> bool:
    """Whether Triton runs kernels in its interpreter, on tensors of any device."""
    from triton import knobs

    return bool(knobs.runtime.interpret)


def on_amd() -> bool:
    """Whether this PyTorch's devices are AMD's."""
    return torch.version.hip is not None


def warps_for(elements: int) -> int:
    """Warps for a program that handles this many elements at once: eight a thread, which are one
    16-byte load in half precision, and from one warp to sixteen."""
    return min(16, max(1, elements // 256))


def power_of_two(number: int) -> int:
    """The least power of two that is not less than `number`, which is at least 1."""
    return 1 << (number - 1).bit_length()
