"""A linear map with 4-bit weights and 16-bit (or wider) activations.

Source: Frantar et al., "GPTQ", 2023, section 3 (grouped asymmetric grid), and Lin et al., "AWQ",
2024, eq. 1.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..held import held_bytes
from ..int4 import PackedInt4, dequantize_int4
from ..registry import implements


@implements("w4a16_linear", backend="reference", priority=-100)
class ReferenceW4A16Linear:
    """y = x · Wᵀ + bias, W dequantised to float32 for each call.

    The operation is a class: construction prepares the weights for the backend once, the call
    computes. x [..., in_features] -> [..., out_features] in x's dtype.

    packed: on the device that x will be on. bias [out_features] or None. dtype: of x.
    Raises KernelError for a shape that the backend cannot take.
    """

    def __init__(self, packed: PackedInt4, bias: Tensor | None, dtype: torch.dtype) -> None:
        self._packed = packed
        self._bias = bias
        self._dtype = dtype

    def __call__(self, x: Tensor) -> Tensor:
        y = x.float() @ dequantize_int4(self._packed).T
        if self._bias is not None:
            y += self._bias.float()
        return y.to(self._dtype)

    @property
    def weight_bytes(self) -> int:
        """Bytes that one application reads: packed weights, scales, zeros, bias."""
        return held_bytes(self._packed, self._bias)
