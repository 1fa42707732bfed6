"""Where an engine runs, and in what: the device, its dtype, its memory, its hardware's features.

What a GPU does not compute in hardware is refused: an emulation would be measured as if it were the
real thing.
"""

from __future__ import annotations

import psutil
import torch

from .errors import ConfigError

# Compute capability from which NVIDIA's tensor cores take the type: CUDA C++ Programming Guide,
# "Compute Capabilities". On ROCm, torch reports other numbers and decides by itself.
_SINCE = {"bfloat16": (8, 0), "fp8": (8, 9), "fp4": (10, 0)}


def find_device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError("device", name, "cpu: this machine has no usable CUDA device")
    try:
        return torch.device(name)
    except RuntimeError as error:
        raise ConfigError("device", name, "cpu, cuda or cuda:N") from error


def choose_dtype(name: str, device: torch.device) -> str:
    """auto: bfloat16 where the hardware computes it, else float32. Raises ConfigError for a dtype
    that the GPU would only emulate."""
    if name != "auto":
        if name == "bfloat16":
            check_feature(device, "bfloat16", "dtype", name, "float16, or a newer GPU")
        return name
    if device.type == "cuda":
        # torch's own answer counts an emulation, too.
        return "float16" if _why_lacking(device, "bfloat16") else "bfloat16"
    return "bfloat16" if torch.ops.mkldnn._is_mkldnn_bf16_supported() else "float32"


def memory_bytes_of(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    return psutil.virtual_memory().total


def lacks_feature(feature: str, capability: tuple[int, int]) -> str:
    """Why a GPU of that compute capability has no `feature`; empty if it has."""
    major, minor = _SINCE[feature]
    if capability >= (major, minor):
        return ""
    have = ".".join(map(str, capability))
    return f"{feature} needs compute capability {major}.{minor}, this GPU has {have}"


def check_feature(
    device: torch.device, feature: str, field: str, value: object, instead: str
) -> None:
    """Raises ConfigError for `field` = `value`, which asks for a feature that the GPU lacks.

    instead: what to choose.
    """
    why = _why_lacking(device, feature)
    if why:
        raise ConfigError(field, value, f"{instead} ({why})")


def _why_lacking(device: torch.device, feature: str) -> str:
    if device.type != "cuda" or torch.version.hip:
        return ""
    return lacks_feature(feature, torch.cuda.get_device_capability(device))
