"""8-bit weight-only linear in bfloat16: widened in registers, whatever the number of rows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from ..grouped_int8 import GroupedInt8
from .build import ORDERS, Target
from .library import Native
from .packed import Kind, PackedMap, pack_w8a16
from .register import register


def _inputs_together(target: Target) -> int:
    """Of a column, which lie side by side: `ByteWeights` of simd_codes.h."""
    return 2 if target.multiplies_bfloat16 else 4


def takes_groups(target: Target, group_size: int) -> bool:
    """Whether they are whole steps."""
    return group_size % _inputs_together(target) == 0


def _takes(
    target: Target,
    weight: GroupedInt8,
    bias: Tensor | None,  # noqa: ARG001
    dtype: torch.dtype,  # noqa: ARG001
) -> bool:
    return takes_groups(target, weight.group_size)


@dataclass(frozen=True)
class NativeW8A16Linear:
    """`w8a16_linear` by `native`, of weights that `_takes` allows."""

    native: Native

    def __call__(
        self,
        weight: GroupedInt8,
        bias: Tensor | None,
        dtype: torch.dtype,  # noqa: ARG002
    ) -> PackedMap:
        """As the reference. Raises KernelError."""
        codes, scales, shifts = pack_w8a16(weight, _inputs_together(self.native.target))
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


for _targets in ORDERS:
    register(
        "w8a16_linear", NativeW8A16Linear, targets=_targets, takes=partial(_takes, _targets[0])
    )
