"""What this machine does at most: a known GPU's datasheet, or a read and a product, timed here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..engines.cost.floor import Rates
from ..engines.cost.hardware import known_hardware
from ..engines.cost.weights import SHORT_DTYPE

if TYPE_CHECKING:
    import torch


def find_rates(device: torch.device, dtype: torch.dtype) -> Rates:
    """Memory bandwidth, and operations a second of a product in `dtype`, which may be int8."""
    import torch

    from ..kernels.rates import measure_rates

    if device.type == "cuda" and (known := _datasheet(torch.cuda.get_device_name(device), dtype)):
        return known
    measured = measure_rates(device, dtype)
    return Rates(measured.memory_bytes_per_s, measured.flops_per_s, "measured")


def better(first: Rates, second: Rates) -> Rates:
    """The higher of each of two measurements of one machine."""
    return Rates(
        max(first.bytes_per_s, second.bytes_per_s),
        max(first.flops_per_s, second.flops_per_s),
        first.source,
    )


def _datasheet(device_name: str, dtype: torch.dtype) -> Rates | None:
    """The row of hardware.yaml that the driver's name for a GPU contains, if there is one."""
    words = device_name.lower().replace("-", " ").split()
    name_of_dtype = str(dtype).removeprefix("torch.")
    short = SHORT_DTYPE.get(name_of_dtype, name_of_dtype)
    for name, hardware in known_hardware().items():
        if name in words and short in hardware.peak_tflops:
            return Rates(
                hardware.memory_bytes_per_s, hardware.peak_flops(short), f"datasheet of {name}"
            )
    return None
