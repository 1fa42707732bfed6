"""What this machine does at most: a known GPU's datasheet, or a read and a product, timed here."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..engines.cost.floor import Rates
from ..engines.cost.hardware import Hardware, known_hardware
from ..engines.cost.weights import SHORT_DTYPE

if TYPE_CHECKING:
    import torch

REPEATS = 7
_CPU_READ_BYTES = 2**28
_CUDA_READ_BYTES = 2**31
_CPU_PRODUCT = 1536
_CUDA_PRODUCT = 8192
# In a driver's name, beside the name of a card whose figures are others.
_OTHER_CARDS = frozenset({"pcie", "nvl", "40gb", "mig"})


def find_rates(device: torch.device, dtype: torch.dtype) -> Rates:
    """Memory bandwidth, and operations a second of a product in `dtype`, which may be int8."""
    import torch

    if device.type == "cuda" and (known := _datasheet(torch.cuda.get_device_name(device), dtype)):
        return known
    return measure_rates(device, dtype)


def measure_rates(device: torch.device, dtype: torch.dtype) -> Rates:
    """The best of some repeats: reading memory that no cache holds (summed, or copied: both ways
    count), and a square product of matrices.

    A CPU's memory is in huge pages, as weights are: from small ones it gives a quarter less, and
    the floor would be too easy.
    """
    import torch

    from ..kernels.cpu.huge_pages import HugePages

    cuda = device.type == "cuda"
    size = _CUDA_READ_BYTES if cuda else _CPU_READ_BYTES
    source = torch.ones(size // 4, dtype=torch.float32, device=device)
    target = torch.empty_like(source)
    if not cuda:
        pages = HugePages()
        source, target = pages.copy(source), pages.copy(target)
    read_s = _best_s(lambda: source.sum(), device)
    copy_s = _best_s(lambda: target.copy_(source), device)
    edge = _CUDA_PRODUCT if cuda else _CPU_PRODUCT
    left, right = (torch.randn(edge, edge, device=device).to(dtype) for _ in range(2))
    multiply = torch.ops.aten._int_mm if dtype == torch.int8 else torch.mm
    product_s = _best_s(lambda: multiply(left, right.T), device)
    return Rates(max(size / read_s, 2 * size / copy_s), 2 * edge**3 / product_s, "measured")


def better(first: Rates, second: Rates) -> Rates:
    """The higher of each of two measurements of one machine."""
    return Rates(
        max(first.bytes_per_s, second.bytes_per_s),
        max(first.flops_per_s, second.flops_per_s),
        first.source,
    )


def datasheet_of(device_name: str) -> Hardware | None:
    """The row of hardware.yaml that the driver's name for a GPU contains, if there is one.

    Not of a card that shares the name and not the figures: on another board, with less memory, or
    a slice of it.
    """
    words = device_name.lower().replace("-", " ").split()
    if _OTHER_CARDS.intersection(words):
        return None
    return next((found for name, found in known_hardware().items() if name in words), None)


def _datasheet(device_name: str, dtype: torch.dtype) -> Rates | None:
    hardware, short = datasheet_of(device_name), short_name(dtype)
    if hardware is None or short not in hardware.peak_tflops:
        return None
    return Rates(
        hardware.memory_bytes_per_s, hardware.peak_flops(short), f"datasheet of {hardware.name}"
    )


def short_name(dtype: torch.dtype) -> str:
    """bf16, fp16, fp32, int8: as the hardware table calls it."""
    name = str(dtype).removeprefix("torch.")
    return SHORT_DTYPE.get(name, name)


def _best_s(call: Callable[[], object], device: torch.device) -> float:
    """The shortest of some calls, after one that is not counted."""
    import torch

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    times: list[float] = []
    for _ in range(REPEATS + 1):
        wait()
        start_s = time.perf_counter()
        call()
        wait()
        times.append(time.perf_counter() - start_s)
    return min(times[1:])
