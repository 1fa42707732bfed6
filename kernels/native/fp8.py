"""FP8 linear in bfloat16: activations to codes, then one pass over the weights' bytes, which are
widened in registers or, for many rows, a chunk at a time."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..fp8 import WIDENED_E4M3, Fp8Weight
from .library import Native
from .packed import Kind, PackedMap, pack_fp8, takes_fp8
from .register import register


@dataclass(frozen=True)
class NativeFp8Linear:
    """`fp8_linear` by `native`, of weights that `takes_fp8` allows."""

    native: Native

    def __call__(self, weight: Fp8Weight, bias: Tensor | None, dtype: torch.dtype) -> PackedMap:  # noqa: ARG002
        """As the reference, summed in float32. Raises KernelError."""
        codes, scales = pack_fp8(weight, multiplies_bfloat16=self.native.target.multiplies_bfloat16)
        return PackedMap(
            self.native,
            Kind.FP8,
            (weight.out_features, weight.in_features),
            codes,
            scales=scales,
            others=None if weight.input_scale is None else weight.input_scale.reshape(1),
            bias=bias,
            group_size=weight.block_columns,
        )


register("fp8_linear", NativeFp8Linear, takes=takes_fp8, emulates=WIDENED_E4M3)
