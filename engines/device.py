"""Where an engine runs, and in what: the device, its dtype, its memory.

A dtype that a GPU only emulates is refused, for every product would be slow. A method of
quantisation that it lacks the arithmetic for runs, and the result says `emulated`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

import psutil
import torch

from ..kernels.bfloat16 import multiplies_bfloat16, widens_bfloat16
from .errors import ConfigError

# Compute capability from which NVIDIA's tensor cores take bfloat16: CUDA C++ Programming Guide,
# "Compute Capabilities". On ROCm, torch reports other numbers and decides by itself.
_BFLOAT16_SINCE = (8, 0)


def find_device(name: str) -> torch.device:
    """`auto`: a GPU where there is one. Raises ConfigError for a device that is not here."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError("device", name, "cpu: this machine has no usable CUDA device")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError("device", name, "cpu, cuda or cuda:N") from error
    # By its name: torch keeps 8 bits of the index, so that its cuda:256 is cuda:0.
    index = int(name.partition(":")[2] or 0)
    if device.type == "cuda" and index >= (count := torch.cuda.device_count()):
        there = f"cuda:0 to cuda:{count - 1}" if count > 1 else "cuda:0"
        raise ConfigError("device", name, f"{there}: torch finds {count} of them here")
    return device


def put_on(device: torch.device, tensor: torch.Tensor) -> torch.Tensor:
    """The same there; from pageable memory a copy to a GPU would wait for all that it computes."""
    held = tensor.pin_memory() if device.type == "cuda" else tensor
    return held.to(device, non_blocking=True)


def choose_dtype(
    name: str,
    device: torch.device,
    ops: Iterable[str] = (),
    force: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """auto: bfloat16 where the hardware computes it or, on a CPU, native kernels for its vectors
    widen it; else float32, or float16 on a GPU. A CPU may have to build the kernels to say.

    ops: that the model's linear maps are computed by; none where transformers computes it.
    force: operation -> implementation. Raises ConfigError for a dtype that the GPU would only
    emulate.
    """
    if name != "auto":
        if name == "bfloat16" and (why := _why_no_bfloat16(device)):
            raise ConfigError("dtype", name, f"float16, or a newer GPU ({why})")
        return name
    if device.type == "cuda":
        # torch's own answer counts an emulation, too.
        return "float16" if _why_no_bfloat16(device) else "bfloat16"
    ops = tuple(ops)
    fast = multiplies_bfloat16() or (bool(ops) and widens_bfloat16(ops, force))
    return "bfloat16" if fast else "float32"


def memory_bytes_of(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    return psutil.virtual_memory().total


def free_memory_bytes() -> int:
    """Of this machine, what programs can have without others giving any up."""
    return psutil.virtual_memory().available


def _why_no_bfloat16(device: torch.device) -> str:
    """Empty where the device computes it."""
    if device.type != "cuda" or torch.version.hip:
        return ""
    capability = torch.cuda.get_device_capability(device)
    if capability >= _BFLOAT16_SINCE:
        return ""
    needed, have = (".".join(map(str, one)) for one in (_BFLOAT16_SINCE, capability))
    return f"bfloat16 needs compute capability {needed}, this GPU has {have}"
