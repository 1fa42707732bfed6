"""FP4 weight-only linear in bfloat16: widened in registers or, for many rows, a chunk at a time."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...fp4 import WIDENED_E2M1, Fp4Weight
from ...registry import implements
from .build import TARGETS
from .library import Native
from .packed import Kind, PackedMap, pack_fp4


@dataclass(frozen=True)
class NativeFp4Linear:
    """`fp4_linear` by `native`."""

    native: Native

    def __call__(self, weight: Fp4Weight, bias: Tensor | None, dtype: torch.dtype) -> PackedMap:  # noqa: ARG002
        """As the reference. Raises KernelError."""
        nibbles, scales, factors = pack_fp4(
            weight, multiplies_bfloat16=self.native.target.multiplies_bfloat16
        )
        return PackedMap(
            self.native,
            Kind.FP4,
            (weight.out_features, weight.in_features),
            nibbles,
            scales=scales,
            others=factors,
            bias=bias,
            group_size=weight.block,
        )


for _target in TARGETS:
    _native = Native(_target)
    implements(
        "fp4_linear",
        backend=f"native-{_target.name}",
        when=_native.runs,
        priority=_target.priority,
        needs=_native.missing,
        emulates=WIDENED_E2M1,
    )(NativeFp4Linear(_native))
