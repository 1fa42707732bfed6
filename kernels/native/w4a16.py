"""4-bit linear in bfloat16: widened in registers, whatever the number of rows."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..int4 import PackedInt4
from .library import Native
from .packed import Kind, PackedMap, int4_map, pack_w4a16, takes_int4
from .register import register


@dataclass(frozen=True)
class NativeW4A16Linear:
    """`w4a16_linear` by `native`, of weights that `takes_int4` allows."""

    native: Native

    def __call__(self, packed: PackedInt4, bias: Tensor | None, dtype: torch.dtype) -> PackedMap:  # noqa: ARG002
        """As the reference; scales are rounded to float16. Raises KernelError."""
        parts = pack_w4a16(packed, multiplies_bfloat16=self.native.target.multiplies_bfloat16)
        return int4_map(self.native, Kind.W4A16, packed, parts, bias)


register("w4a16_linear", NativeW4A16Linear, takes=takes_int4)
