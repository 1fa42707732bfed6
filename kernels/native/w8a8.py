"""8-bit linear in bfloat16: activations to codes, then one pass over the weights' bytes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..w8a8 import W8A8Weight
from .library import Native
from .packed import Kind, PackedMap, pack_w8a8
from .register import register


@dataclass(frozen=True)
class NativeW8A8Linear:
    """`w8a8_linear` by `native`."""

    native: Native

    def __call__(self, weight: W8A8Weight, bias: Tensor | None, dtype: torch.dtype) -> PackedMap:  # noqa: ARG002
        """As the reference. Raises KernelError."""
        codes, scales = pack_w8a8(weight)
        size = (weight.out_features, weight.in_features)
        return PackedMap(self.native, Kind.W8A8, size, codes, scales=scales, bias=bias)


register("w8a8_linear", NativeW8A8Linear)
