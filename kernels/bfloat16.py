"""How a CPU multiplies bfloat16: by its own instructions, widened by our kernels, or emulated.

A large product that PyTorch emulates takes several times as long as the same in float32.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch

from .native.build import TARGETS
from .native.library import find_library

# Those for vectors; plain C++ is no faster than PyTorch in float32.
VECTORS = tuple(target for target in TARGETS if target.cpu_flags)
_VECTOR_BACKENDS = frozenset(f"native-{target.name}" for target in VECTORS)


def multiplies_bfloat16() -> bool:
    """Whether PyTorch's products of it use the processor's vectors."""
    return torch.ops.mkldnn._is_mkldnn_bf16_supported()


def widens_bfloat16(ops: Iterable[str], force: Mapping[str, str]) -> bool:
    """Whether native kernels for this processor's vectors compute a model's linear maps in it.

    They are built if need be. ops: the operations of the maps; a map that no native kernel takes,
    as of groups that are no whole steps, multiplies in float32 (`product_dtype`). force: operation
    -> implementation; other code for one of `ops` is taken for PyTorch's.
    """
    if any(op in force and force[op] not in _VECTOR_BACKENDS for op in ops):
        return False
    return any(find_library(target) is not None for target in VECTORS)


def product_dtype(device: torch.device, dtype: torch.dtype) -> torch.dtype:
    """What codes are widened to for PyTorch to multiply: `dtype`, or float32 where a CPU would
    emulate products of it."""
    if device.type == "cpu" and dtype == torch.bfloat16 and not multiplies_bfloat16():
        return torch.float32
    return dtype
