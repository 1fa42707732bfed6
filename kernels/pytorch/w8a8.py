"""8-bit linear through PyTorch's integer product."""

from __future__ import annotations

import torch
from torch import Tensor

from ..held import held_bytes
from ..registry import implements, on_cpu
from ..w8a8 import W8A8Weight, quantize_rows


@implements("w8a8_linear", backend="torch-cpu", when=on_cpu)
class TorchW8A8Linear:
    """As the reference."""

    def __init__(self, weight: W8A8Weight, bias: Tensor | None, dtype: torch.dtype) -> None:
        self._codes = weight.codes.T
        self._scales = weight.scales
        self._bias = bias
        self._dtype = dtype

    def __call__(self, x: Tensor) -> Tensor:
        codes, scales = quantize_rows(x.reshape(-1, x.shape[-1]))
        y = torch.ops.aten._int_mm(codes, self._codes).float()
        y.mul_(scales[:, None]).mul_(self._scales)
        if self._bias is not None:
            y += self._bias
        return y.to(self._dtype).view(*x.shape[:-1], y.shape[-1])

    @property
    def weight_bytes(self) -> int:
        """Bytes that one application reads: codes, scales, bias."""
        return held_bytes(self._codes, self._scales, self._bias)
