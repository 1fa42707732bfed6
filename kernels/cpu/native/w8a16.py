"""8-bit weight-only linear in bfloat16: widened in registers, whatever the number of rows."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...grouped_int8 import GroupedInt8
from ...registry import implements
from .build import TARGETS
from .library import Native
from .packed import Kind, PackedMap, pack_w8a16


@dataclass(frozen=True)
class NativeW8A16Linear:
    """`w8a16_linear` by `native`, of weights that it `takes`."""

    native: Native

    @property
    def _inputs_together(self) -> int:
        """Of a column, which lie side by side: `ByteWeights` of simd_codes.h."""
        return 2 if self.native.target.multiplies_bfloat16 else 4

    def takes(self, weight: GroupedInt8, bias: Tensor | None, dtype: torch.dtype) -> bool:  # noqa: ARG002
        """Groups of whole steps."""
        return weight.group_size % self._inputs_together == 0

    def __call__(
        self,
        weight: GroupedInt8,
        bias: Tensor | None,
        dtype: torch.dtype,  # noqa: ARG002
    ) -> PackedMap:
        """As the reference. Raises KernelError."""
        codes, scales, shifts = pack_w8a16(weight, self._inputs_together)
        return PackedMap(
            self.native,
            Kind.W8A16,
            (weight.out_features, weight.in_features),
            codes,
            scales=scales,
            others=shifts,
            bias=bias,
            group_size=weight.group_size,
        )


for _target in TARGETS:
    _linear = NativeW8A16Linear(Native(_target))
    implements(
        "w8a16_linear",
        backend=f"native-{_target.name}",
        when=_linear.native.runs,
        priority=_target.priority,
        takes=_linear.takes,
        needs=_linear.native.missing,
    )(_linear)
