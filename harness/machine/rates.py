"""What this machine does at most: a known GPU's datasheet, or a read and a product, timed here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...engines.cost.floor import Roof
from ...engines.cost.hardware import Hardware, known_hardware
from ...engines.cost.weights import SHORT_DTYPE

if TYPE_CHECKING:
    import torch


# Four-bit codes times bytes, as `kernels/rates.py` calls them, too.
W4A8 = "w4a8"
# In a driver's name, beside the name of a card whose figures are others.
_OTHER_CARDS = frozenset({"pcie", "nvl", "40gb", "mig"})


def find_rates(device: torch.device, dtype: str) -> Roof:
    """Memory bandwidth, and operations a second of a product in `dtype`, called as
    `product_dtypes` does."""
    import torch

    from ...kernels.rates import NIBBLES, measure_rates

    if device.type == "cuda" and (known := _datasheet(torch.cuda.get_device_name(device), dtype)):
        return known
    timed = {short: getattr(torch, name) for name, short in SHORT_DTYPE.items()}
    timed |= {"int8": torch.int8, "fp8": torch.float8_e4m3fn, W4A8: NIBBLES}
    measured = measure_rates(device, timed[dtype])
    return Roof(measured.memory_bytes_per_s, measured.flops_per_s, "measured")


def better(first: Roof, second: Roof) -> Roof:
    """The higher of each of two measurements of one machine."""
    return Roof(
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


def _datasheet(device_name: str, dtype: str) -> Roof | None:
    hardware = datasheet_of(device_name)
    if hardware is None or dtype not in hardware.peak_tflops:
        return None
    return Roof(
        hardware.memory_bytes_per_s, hardware.peak_flops(dtype), f"datasheet of {hardware.name}"
    )
