"""FP8 linear in Triton: one implementation where tensor cores take e4m3, one where they do not.

Both quantise the activations and compute the same numbers; which of them ran is in its name.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from ..cuda.scaled_mm import ScaledMmFp8Linear, multiplies_e4m3
from ..fp8 import E4M3, WIDENED_E4M3, Fp8Weight
from ..registry import KernelError, implements
from ..requirements import package
from .codes import BLOCK_K, CodeBlocks, Kind, multiply_codes
from .token_codes import token_codes

# From here on cuBLAS computes at more of the tensor cores' rate than Triton's tiles do.
LEAST_ROWS_FOR_CUBLAS = 129


def _on_cuda(device: torch.device, dtype: torch.dtype) -> bool:
    return device.type == "cuda" and dtype in (torch.float32, torch.float16, torch.bfloat16)


def _has_e4m3(device: torch.device, dtype: torch.dtype) -> bool:
    return _on_cuda(device, dtype) and multiplies_e4m3(device)


@implements(
    "fp8_linear",
    backend="triton-widened",
    when=_on_cuda,
    priority=100,
    needs=package("triton"),
    emulates=WIDENED_E4M3,
)
class TritonWidenedFp8Linear:
    """As the reference; codes become float16 in registers, exactly, so the weights' bytes are
    halved and the arithmetic is not. For devices without an e4m3 product.

    Raises KernelError unless a block's columns are in_features or a multiple of 128.
    """

    _kind: ClassVar[Kind] = "float16"

    def __init__(self, weight: Fp8Weight, bias: Tensor | None, dtype: torch.dtype) -> None:
        if weight.groups > 1 and weight.block_columns % BLOCK_K:
            raise KernelError(f"blocks of {weight.block_columns} columns are none of {BLOCK_K}")
        self._weight = weight
        self._bias = bias
        self._dtype = dtype
        by_row = weight.groups == 1
        scales = weight.row_scales()[:, 0] if by_row else weight.scales
        self._blocks = CodeBlocks(
            weight.codes.view(torch.uint8),
            scales.contiguous(),
            rows=weight.block_rows,
            columns=0 if by_row else weight.block_columns,
            kind=self._kind,
        )

    def __call__(self, x: Tensor) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])
        if rows.stride(-1) != 1:
            rows = rows.contiguous()
        weight = self._weight
        codes, scales = token_codes(rows, E4M3, weight.block_columns, weight.input_scale)
        return self._multiply(codes, scales).view(*x.shape[:-1], weight.out_features)

    def _multiply(self, codes: Tensor, scales: Tensor) -> Tensor:
        return multiply_codes(codes, scales, self._blocks, self._bias, self._dtype)

    @property
    def weight_bytes(self) -> int:
        """Bytes that one application reads: codes, scales, bias."""
        bias = 0 if self._bias is None else self._bias.nbytes
        return self._blocks.codes.nbytes + self._blocks.scales.nbytes + bias


@implements("fp8_linear", backend="triton", when=_has_e4m3, priority=110, needs=package("triton"))
class TritonFp8Linear(TritonWidenedFp8Linear):
    """As the reference, multiplying e4m3 itself. LEAST_ROWS_FOR_CUBLAS rows and more go through
    PyTorch's scaled product where it takes the weight, from the same bytes."""

    _kind: ClassVar[Kind] = "e4m3"

    def __init__(self, weight: Fp8Weight, bias: Tensor | None, dtype: torch.dtype) -> None:
        super().__init__(weight, bias, dtype)
        self._many_rows = _cublas(weight, bias, dtype)

    def _multiply(self, codes: Tensor, scales: Tensor) -> Tensor:
        if self._many_rows is not None and len(codes) >= LEAST_ROWS_FOR_CUBLAS:
            return self._many_rows.multiply(codes.view(E4M3), scales)
        return super()._multiply(codes, scales)


def _cublas(weight: Fp8Weight, bias: Tensor | None, dtype: torch.dtype) -> ScaledMmFp8Linear | None:
    if dtype != torch.bfloat16 or weight.codes.device.type != "cuda":
        return None
    try:
        return ScaledMmFp8Linear(weight, bias, dtype)
    except KernelError:
        return None  # Every shape stays with Triton's kernel, which takes them all.
