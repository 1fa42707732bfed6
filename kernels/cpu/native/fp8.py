"""FP8 linear in bfloat16: activations to codes, then one pass over the weights' bytes, which are
widened in registers or, for many rows, a chunk at a time."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...fp8 import WIDENED_E4M3, Fp8Weight
from ...registry import implements
from .build import TARGETS
from .library import Native
from .packed import Kind, PackedMap, pack_fp8, takes_fp8


def takes(weight: Fp8Weight, bias: Tensor | None, dtype: torch.dtype) -> bool:  # noqa: ARG001
    """Groups of whole steps."""
    return takes_fp8(weight)


@dataclass(frozen=True)
class NativeFp8Linear:
    """`fp8_linear` by `native`, of weights that `takes`."""

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


for _target in TARGETS:
    _native = Native(_target)
    implements(
        "fp8_linear",
        backend=f"native-{_target.name}",
        when=_native.runs,
        priority=_target.priority,
        takes=takes,
        needs=_native.missing,
        emulates=WIDENED_E4M3,
    )(NativeFp8Linear(_native))
