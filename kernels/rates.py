"""What the machine reaches: bytes a second from memory and from cache, operations a second.

Measured where kernels are timed, in the same process, so that a floor is of this machine as it is
now. Bandwidth is the larger of a copy's and a sum's; arithmetic is PyTorch's largest product.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

import torch

from .specs.spec import Work

# A virtual machine is told of the whole package's cache and has a share of it.
MOST_CPU_CACHE_BYTES = 32 * 2**20
REPEATS = 5


@dataclass(frozen=True)
class Rates:
    """memory_bytes_per_s: of a working set beyond the last-level cache, whose size is cache_bytes.
    cache_bytes_per_s: of one well inside it. flops_per_s: two a multiplication and addition."""

    memory_bytes_per_s: float
    cache_bytes_per_s: float
    flops_per_s: float
    cache_bytes: int

    def floor_s(self, work: Work, *, cold: bool) -> float:
        """The least time: bytes over bandwidth or FLOPs over their rate, the larger."""
        bandwidth = self.memory_bytes_per_s if cold else self.cache_bytes_per_s
        return max(work.bytes_moved / bandwidth, work.flops / self.flops_per_s)

    def is_memory_bound(self, work: Work, *, cold: bool) -> bool:
        bandwidth = self.memory_bytes_per_s if cold else self.cache_bytes_per_s
        return work.bytes_moved / bandwidth >= work.flops / self.flops_per_s


def measure_rates(device: torch.device, dtype: torch.dtype) -> Rates:
    """dtype: what is multiplied; int8 is PyTorch's product of integers."""
    cache_bytes = last_level_cache_bytes(device)
    return Rates(
        _bandwidth(device, 4 * cache_bytes),
        _bandwidth(device, cache_bytes // 16),
        _flops(device, dtype),
        cache_bytes,
    )


def last_level_cache_bytes(device: torch.device) -> int:
    """The GPU's L2, or the CPU's L3 as Linux says, as far as one process can count on it."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).L2_cache_size
    try:
        said = os.sysconf("SC_LEVEL3_CACHE_SIZE")
    except (ValueError, OSError):
        said = 0
    return min(said, MOST_CPU_CACHE_BYTES) if said > 0 else MOST_CPU_CACHE_BYTES


def seconds(device: torch.device, call: Callable[[], object], repeats: int = 1) -> float:
    """Of `repeats` calls, all done when the clock is read."""
    if device.type == "cuda":
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        for _ in range(repeats):
            call()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) / 1000
    began_s = perf_counter()
    for _ in range(repeats):
        call()
    return perf_counter() - began_s


def _bandwidth(device: torch.device, size_bytes: int) -> float:
    source = torch.ones(size_bytes // 8, dtype=torch.float32, device=device)
    target = torch.empty_like(source)
    # A small copy is over before the clock ticks.
    repeats = max(1, 2**26 // size_bytes)
    copied = 2 * source.nbytes * repeats / _best(device, lambda: target.copy_(source), repeats)
    summed = source.nbytes * repeats / _best(device, lambda: source.sum(), repeats)
    return max(copied, summed)


def _flops(device: torch.device, dtype: torch.dtype) -> float:
    size = 8192 if device.type == "cuda" else 1024
    left, right = (torch.ones(size, size, dtype=dtype, device=device) for _ in range(2))
    if dtype == torch.int8:
        taken_s = _best(device, lambda: torch.ops.aten._int_mm(left, right.T))
    else:
        taken_s = _best(device, lambda: left @ right)
    return 2 * size**3 / taken_s


def _best(device: torch.device, call: Callable[[], object], repeats: int = 1) -> float:
    call()
    return min(seconds(device, call, repeats) for _ in range(REPEATS))
