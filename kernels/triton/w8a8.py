"""8-bit linear in Triton: tokens quantised by one kernel, integers multiplied by another."""

from __future__ import annotations

import torch
from torch import Tensor

from ..registry import implements
from ..requirements import package
from ..w8a8 import W8A8Weight
from .codes import CodeBlocks, multiply_codes
from .target import on_gpu
from .token_codes import token_codes


@implements("w8a8_linear", backend="triton", when=on_gpu, priority=100, needs=package("triton"))
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
        rows = x.reshape(-1, x.shape[-1])
        if rows.stride(-1) != 1:
            rows = rows.contiguous()
        codes, scales = token_codes(rows, torch.int8)
        y = multiply_codes(codes, scales, self._blocks, self._bias, self._dtype)
        return y.view(*x.shape[:-1], self._weight.out_features)

    @property
    def weight_bytes(self) -> int:
        """Bytes that one application reads: codes, scales, bias."""
        return self._weight.nbytes + (0 if self._bias is None else self._bias.nbytes)
