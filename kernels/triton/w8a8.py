"""8-bit linear in Triton: tokens quantised by one kernel, integers multiplied by another."""

from __future__ import annotations

import torch
from torch import Tensor

from ..held import held_bytes
from ..w8a8 import W8A8Weight
from .codes import CodeBlocks, multiply_codes
from .register import implements_triton
from .rows import as_rows
from .token_codes import token_codes


@implements_triton("w8a8_linear")
class TritonW8A8Linear:
    """As the reference."""

    def __init__(self, weight: W8A8Weight, bias: Tensor | None, dtype: torch.dtype) -> None:
        self._weight = weight
        self._blocks = CodeBlocks(
            weight.codes.contiguous(), weight.scales.contiguous(), rows=1, columns=0, kind="int8"
        )
        self._bias = bias if bias is None else bias.contiguous()
        self._dtype = dtype

    def __call__(self, x: Tensor) -> Tensor:
        rows = as_rows(x)
        codes, scales = token_codes(rows, torch.int8)
        y = multiply_codes(codes, scales, self._blocks, self._bias, self._dtype)
        return y.view(*x.shape[:-1], self._weight.out_features)

    @property
    def weight_bytes(self) -> int:
        """Bytes that one application reads: codes, scales, bias."""
        return held_bytes(self._weight, self._bias)
