"""FP8 linear in Triton. Where tensor cores take e4m3, one product for few rows and cuBLAS's for
many; where they do not, one that widens.

All quantise the activations and compute the same numbers; which of them ran is in its name.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from ..fp8 import E4M3, WIDENED_E4M3, Fp8Weight
from ..held import held_bytes
from ..pytorch import scaled_mm
from .codes import BLOCK_K, CodeBlocks, Kind, multiply_codes
from .register import implements_triton
from .rows import as_rows
from .target import on_gpu
from .token_codes import token_codes

# From here on cuBLAS computes at more of the tensor cores' rate than Triton's tiles do.
LEAST_ROWS_FOR_CUBLAS = 129


def _has_e4m3(device: torch.device, dtype: torch.dtype) -> bool:
    """Not in float32: Hopper's products of e4m3 keep about 14 bits of a sum, which is less than
    float32's results are held to."""
    narrow = dtype in (torch.float16, torch.bfloat16)
    return narrow and on_gpu(device, dtype) and scaled_mm.multiplies_e4m3(device)


def takes(weight: Fp8Weight, bias: Tensor | None, dtype: torch.dtype) -> bool:  # noqa: ARG001
    """Blocks whose columns are in_features or a multiple of 128."""
    return weight.groups == 1 or weight.block_columns % BLOCK_K == 0


def _prefers_few_rows(
    weight: Fp8Weight, bias: Tensor | None, dtype: torch.dtype, x: Tensor
) -> bool:
    if dtype != torch.bfloat16 or not scaled_mm.takes(weight, bias, dtype):
        return True
    return x.numel() < LEAST_ROWS_FOR_CUBLAS * weight.in_features


@implements_triton("fp8_linear", backend="triton-widened", takes=takes, emulates=WIDENED_E4M3)
class TritonWidenedFp8Linear:
    """As the reference; codes become float16 in registers, exactly, so the weights' bytes are
    halved and the arithmetic is not. For devices without an e4m3 product, and weights that `takes`.
    """

    _kind: ClassVar[Kind] = "float16"

    def __init__(self, weight: Fp8Weight, bias: Tensor | None, dtype: torch.dtype) -> None:
        self._weight = weight
        self._bias = bias if bias is None else bias.contiguous()
        self._dtype = dtype
        by_row = weight.groups == 1
        scales = weight.row_scales()[:, 0] if by_row else weight.scales
        self._blocks = CodeBlocks(
            weight.codes.view(torch.uint8).contiguous(),
            scales.contiguous(),
            rows=weight.block_rows,
            columns=0 if by_row else weight.block_columns,
            kind=self._kind,
        )

    def __call__(self, x: Tensor) -> Tensor:
        rows = as_rows(x)
        weight = self._weight
        codes, scales = token_codes(rows, E4M3, weight.block_columns, weight.input_scale)
        return self._multiply(codes, scales).view(*x.shape[:-1], weight.out_features)

    def _multiply(self, codes: Tensor, scales: Tensor) -> Tensor:
        return multiply_codes(codes, scales, self._blocks, self._bias, self._dtype)

    @property
    def weight_bytes(self) -> int:
        """Bytes that one application reads: codes, scales, bias."""
        return held_bytes(self._blocks.codes, self._blocks.scales, self._bias)


@implements_triton(
    "fp8_linear", when=_has_e4m3, priority=110, takes=takes, prefers=_prefers_few_rows
)
class TritonFp8Linear(TritonWidenedFp8Linear):
    """As the reference, multiplying e4m3 itself."""

    _kind: ClassVar[Kind] = "e4m3"


@implements_triton(
    "fp8_linear",
    backend="triton-scaled-mm",
    when=scaled_mm.runs,
    priority=105,
    takes=scaled_mm.takes,
)
class TritonScaledMmFp8Linear(scaled_mm.ScaledMmFp8Linear):
    """As the reference: activations quantised in Triton, the product by PyTorch's scaled one. For
    many rows of what `triton` takes, from the same bytes."""

    def _quantized(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        codes, scales = token_codes(as_rows(rows), E4M3, None, self._weight.input_scale)
        return codes.view(E4M3), scales


@implements_triton(
    "fp8_linear",
    backend="triton-scaled-mm-fast",
    when=scaled_mm.runs,
    priority=40,
    takes=scaled_mm.takes,
)
class TritonFastScaledMmFp8Linear(TritonScaledMmFp8Linear):
    """The same with sums of fewer bits, as other engines may multiply; only where it is asked for,
    for others that take the same weights are asked before."""

    _fast: ClassVar[bool] = True
