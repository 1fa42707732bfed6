"""FP4 weight-only linear in bfloat16: widened in registers or, for many rows, a chunk at a time."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..fp4 import WIDENED_E2M1, Fp4Weight
from .library import Native
from .packed import Kind, PackedMap, pack_fp4
from .register import register


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


register("fp4_linear", NativeFp4Linear, emulates=WIDENED_E2M1)
