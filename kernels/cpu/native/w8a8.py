"""8-bit linear in bfloat16: activations to codes, then one pass over the weights' bytes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...registry import implements
from ...w8a8 import W8A8Weight
from .build import TARGETS
from .library import Native
from .packed import Kind, PackedMap, pack_w8a8


@dataclass(frozen=True)
class NativeW8A8Linear:
    """`w8a8_linear` by `native`."""

    native: Native

    def __call__(self, weight: W8A8Weight, bias: Tensor | None, dtype: torch.dtype) -> PackedMap:  # noqa: ARG002
        """As the reference. Raises KernelError."""
        codes, scales = pack_w8a8(weight)
        size = (weight.out_features, weight.in_features)
        return PackedMap(self.native, Kind.W8A8, size, codes, scales=scales, bias=bias)


for _target in TARGETS:
    _native = Native(_target)
    implements(
        "w8a8_linear",
        backend=f"native-{_target.name}",
        when=_native.runs,
        priority=_target.priority,
        needs=_native.missing,
    )(NativeW8A8Linear(_native))
