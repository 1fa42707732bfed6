"""FP4 linear in Triton: e2m1 is widened in registers; Hopper and older have no FP4 product."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..fp4 import E8M0_BIAS, WIDENED_E2M1, Fp4Weight
from .nibbles import Nibbles, NibblesLinear, interleave, most_block_k
from .register import implements_triton


@implements_triton("fp4_linear", backend="triton-weight-only", emulates=WIDENED_E2M1)
class TritonFp4Linear(NibblesLinear):
    """As the reference. A weight times its block's scale is exact in every dtype, but for MXFP4 in
    float16 where it is below 2^-25 of its row's largest scale; many rows multiply weights rounded
    to `dtype`."""

    def __init__(self, weight: Fp4Weight, bias: Tensor | None, dtype: torch.dtype) -> None:
        k = weight.in_features
        scales, row_scales = weight.scales, weight.row_scales
        if weight.scale_format == "e8m0":
            scales, row_scales = _relative(scales, row_scales)
        block_k = most_block_k(dtype)
        padding = -k % block_k // weight.block
        scales = F.pad(scales, (0, padding))
        nibbles = Nibbles(
            interleave(weight.codes(), k, block_k, parts=2),
            scales.T.contiguous(),
            row_scales.contiguous(),
            out_features=weight.out_features,
            in_features=k,
            group=k,
            block_k=block_k,
            share=weight.block,
            e8m0=weight.scale_format == "e8m0",
        )
        super().__init__(nibbles, bias, dtype)


def _relative(scales: Tensor, row_scales: Tensor) -> tuple[Tensor, Tensor]:
    """e8m0 scales of at most 1, which float16 holds, the rest in the row's scale."""
    largest = scales.amax(1, keepdim=True).int()
    least = 1  # a byte of 0 is no power of two once it is a float32's exponent
    bytes_ = (scales.int() - largest + E8M0_BIAS).clamp_min(least).to(torch.uint8)
    return bytes_, torch.ldexp(row_scales, largest[:, 0] - E8M0_BIAS)
