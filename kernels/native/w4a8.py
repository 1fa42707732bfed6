"""4-bit linear in bfloat16 with activations of eight bits: products of integers."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..int4 import PackedInt4
from .library import Native
from .packed import Kind, PackedMap, int4_map, pack_w4a8, takes_int4
from .register import register


@dataclass(frozen=True)
class NativeW4A8Linear:
    """`w4a8_linear` by `native`, of weights that `takes_int4` allows."""

    native: Native

    def __call__(self, packed: PackedInt4, bias: Tensor | None, dtype: torch.dtype) -> PackedMap:  # noqa: ARG002
        """As the reference; scales are rounded to float16. Raises KernelError."""
        return int4_map(self.native, Kind.W4A8, packed, pack_w4a8(packed), bias)


register("w4a8_linear", NativeW4A8Linear, takes=takes_int4)
