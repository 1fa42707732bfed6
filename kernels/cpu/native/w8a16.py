"""8-bit weight-only linear in bfloat16: widened in registers, whatever the number of rows."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...grouped_int8 import GroupedInt8
from ...registry import implements
from .build import TARGETS
from .library import Native
from .packed import Kind, PackedMap, pack_grouped_int8


def takes(weight: GroupedInt8, bias: Tensor | None, dtype: torch.dtype) -> bool:  # noqa: ARG001
    """Inputs are multiplied in pairs."""
    return weight.group_size % 2 == 0


@dataclass(frozen=True)
class NativeGroupedInt8Linear:
    """`w8a16_linear` by `native`, of weights that `takes`."""

    native: Native

    def __call__(
        self,
        weight: GroupedInt8,
        bias: Tensor | None,
        dtype: torch.dtype,  # noqa: ARG002
    ) -> PackedMap:
        """As the reference. Raises KernelError."""
        codes, scales, shifts = pack_grouped_int8(weight)
        return PackedMap(
            self.native,
            Kind.GROUPED_INT8,
            (weight.out_features, weight.in_features),
            codes,
            scales=scales,
            zeros=shifts,
            bias=bias,
            group_size=weight.group_size,
        )


for _target in TARGETS:
    _native = Native(_target)
    implements(
        "w8a16_linear",
        backend=f"native-{_target.name}",
        when=_native.runs,
        priority=_target.priority,
        takes=takes,
        needs=_native.missing,
    )(NativeGroupedInt8Linear(_native))
