"""What the machine reaches: bytes a second from memory and from cache, operations a second.

Measured where kernels are timed, in the same process, so that a floor is of this machine as it is
now. Bandwidth is the larger of a copy's and a sum's; arithmetic is PyTorch's largest product, on a
CPU that of the fastest way to multiply such numbers: any of 16 bits or fewer can be widened to
float32 first, so no dtype's rate is below float32's. Four-bit codes times bytes are multiplied by
nothing of PyTorch: on a CPU theirs is the rate of the operation itself, of a product so large that
all else is little, or that of bytes if it is higher; a GPU takes them for bytes. Products in
e4m3 exist on newer GPUs alone.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

import torch
from torch import Tensor

from .fp8 import E4M3
from .huge_pages import HugePages
from .int4 import pack_int4
from .pytorch.scaled_mm import multiplies_e4m3
from .registry import select
from .specs.spec import Work

# A virtual machine is told of the whole package's cache and has a share of it.
MOST_CPU_CACHE_BYTES = 32 * 2**20
REPEATS = 7
# Read and written to find the bandwidth of memory; beyond the cache of any whole package.
FAR_BYTES = {"cpu": 2**29, "cuda": 2**31}
# The cache over what is read and written to find its bandwidth. Of so little, to start a CPU's
# threads may take longer than to copy it, so one thread is tried alone, too; a GPU is done with a
# sixteenth before it has begun.
NEAR_PARTS = {"cpu": (64, 16, 4), "cuda": (2,)}
# Of a small copy, in one measurement: it is over before the clock ticks.
REPEATED_BYTES = {"cpu": 2**25, "cuda": 2**30}
PRODUCT_EDGE = {"cpu": 1536, "cuda": 8192}
# Stands for four-bit codes times bytes.
NIBBLES = torch.quint4x2
# Times as long as float32's, of a dtype's first product: more than a first call costs.
HOPELESS = 4


@dataclass(frozen=True)
class Rates:
    """memory_bytes_per_s: of a working set beyond the last-level cache, whose size is cache_bytes.
    cache_bytes_per_s: of one well inside it; memory's where none was found faster. flops_per_s: two
    a multiplication and addition."""

    memory_bytes_per_s: float
    cache_bytes_per_s: float
    flops_per_s: float
    cache_bytes: int

    @property
    def cache_is_faster(self) -> bool:
        """Else what is said of the cache is memory's rate: no copy inside it exceeded that."""
        return self.cache_bytes_per_s > self.memory_bytes_per_s

    def floor_s(self, work: Work, *, cold: bool) -> float:
        """The least time: bytes over bandwidth or FLOPs over their rate, the larger."""
        bandwidth = self.memory_bytes_per_s if cold else self.cache_bytes_per_s
        return max(work.bytes_moved / bandwidth, work.flops / self.flops_per_s)

    def is_memory_bound(self, work: Work, *, cold: bool) -> bool:
        bandwidth = self.memory_bytes_per_s if cold else self.cache_bytes_per_s
        return work.bytes_moved / bandwidth >= work.flops / self.flops_per_s


def measure_rates(device: torch.device, dtype: torch.dtype) -> Rates:
    """dtype: what is multiplied, one that `multiplied_on` names; int8 is PyTorch's product of
    integers, on a CPU float32's where that is faster. NIBBLES: codes times bytes."""
    cache_bytes = last_level_cache_bytes(device)
    memory = _bandwidth(far_memory(device, FAR_BYTES[device.type]))
    # What a cache holds is read no slower than memory; less is what starting a copy costs.
    cache = max(memory, _cache_bandwidth(device, cache_bytes))
    return Rates(memory, cache, _flops(device, dtype), cache_bytes)


def multiplied_on(device: torch.device, dtype: torch.dtype, own: torch.dtype) -> torch.dtype:
    """What products in `dtype` are computed in there. own: the activations' dtype, which e4m3 is
    widened to where it is not multiplied itself."""
    if dtype == NIBBLES and device.type == "cuda":
        return torch.int8
    widens = own == torch.float32 or not multiplies_e4m3(device)
    return own if dtype == E4M3 and widens else dtype


def name_of(multiplied: torch.dtype) -> str:
    """As rates are called by; w4a8: four-bit codes times bytes."""
    return "w4a8" if multiplied == NIBBLES else str(multiplied).removeprefix("torch.")


def last_level_cache_bytes(device: torch.device) -> int:
    """The GPU's L2, or the CPU's L3 as Linux says, as far as one process can count on it.

    AMD's Infinity Cache, which lies behind the L2 (256 MB on an MI300X), is not counted: there,
    what exceeds this may still come from a cache.
    """
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


def far_memory(device: torch.device, size_bytes: int) -> tuple[Tensor, Tensor]:
    """Two tensors of together `size_bytes` in pages as weights and KV cache have them: on a CPU
    huge ones, for small ones give a quarter less and make a floor too easy."""
    source, target = _two_halves(device, size_bytes)
    if device.type != "cpu":
        return source, target
    pages = HugePages()
    return pages.copy(source), pages.copy(target)


def _two_halves(device: torch.device, size_bytes: int) -> tuple[Tensor, Tensor]:
    source = torch.ones(size_bytes // 8, dtype=torch.float32, device=device)
    return source, torch.zeros_like(source)


def _bandwidth(tensors: tuple[Tensor, Tensor]) -> float:
    source, target = tensors
    device = source.device
    repeats = max(1, REPEATED_BYTES[device.type] // source.nbytes)
    copied = 2 * source.nbytes * repeats / _best(device, lambda: target.copy_(source), repeats)
    summed = source.nbytes * repeats / _best(device, lambda: source.sum(), repeats)
    return max(copied, summed)


def _cache_bandwidth(device: torch.device, cache_bytes: int) -> float:
    """The best of a few sizes, on a CPU with one thread and with all."""
    sets = [_two_halves(device, cache_bytes // part) for part in NEAR_PARTS[device.type]]
    threads, best = torch.get_num_threads(), 0.0
    try:
        for count in {1, threads} if device.type == "cpu" else {threads}:
            torch.set_num_threads(count)
            best = max(best, *map(_bandwidth, sets))
    finally:
        torch.set_num_threads(threads)
    return best


def _flops(device: torch.device, dtype: torch.dtype) -> float:
    work = 2 * PRODUCT_EDGE[device.type] ** 3
    multiply = _product(device, dtype)
    if dtype == NIBBLES:  # less its zero a code is a byte
        return max(work / _best(device, multiply), _flops(device, torch.int8))
    if device.type != "cpu" or dtype == torch.float32:
        return work / _best(device, multiply)
    widened_s = _best(device, _product(device, torch.float32))
    # Emulated, a product takes seconds: it is not repeated.
    if seconds(device, multiply) > HOPELESS * widened_s:
        return work / widened_s
    return work / min(widened_s, _best(device, multiply))


def _product(device: torch.device, dtype: torch.dtype) -> Callable[[], object]:
    edge = PRODUCT_EDGE[device.type]
    if dtype == NIBBLES:
        return _nibbles_times_bytes(device, edge)
    # Of random numbers: a GPU multiplies equal ones at a higher clock.
    left, right = (torch.randn(edge, edge, device=device).to(dtype) for _ in range(2))
    if dtype == E4M3:
        one = torch.ones((), device=device)
        return lambda: torch.ops.aten._scaled_mm(left, right.T, one, one, out_dtype=torch.bfloat16)
    multiply = torch.ops.aten._int_mm if dtype == torch.int8 else torch.mm
    return lambda: multiply(left, right.T)


def _nibbles_times_bytes(device: torch.device, edge: int) -> Callable[[], object]:
    group = math.gcd(edge, 128)
    shape = (edge, edge // group)
    codes, zeros = (torch.randint(0, 16, size) for size in ((edge, edge), shape))
    packed = pack_int4(codes, torch.rand(shape), zeros, group)
    x = torch.randn(edge, edge, dtype=torch.bfloat16)
    multiply = select("w4a8_linear", device, x.dtype).function(packed, None, x.dtype)
    return lambda: multiply(x)


def _best(device: torch.device, call: Callable[[], object], repeats: int = 1) -> float:
    """Seconds of `repeats` calls."""
    call()
    if device.type == "cuda" and repeats > 1:
        call, repeats = _as_one(call, repeats), 1
    return min(seconds(device, call, repeats) for _ in range(REPEATS))


def _as_one(call: Callable[[], object], repeats: int) -> Callable[[], object]:
    """The calls as a CUDA graph: to launch a small copy takes longer than to make it."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(repeats):
            call()
    graph.replay()
    return graph.replay
