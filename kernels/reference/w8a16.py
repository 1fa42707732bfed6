"""A linear map with 8-bit weights and 16-bit (or wider) activations.

Source: Frantar et al., "GPTQ", 2023, section 3 (grouped grid), at 8 bits; with one group a row,
weight-only INT8.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..grouped_int8 import GroupedInt8, dequantize_grouped
from ..held import held_bytes
from ..registry import implements


@implements("w8a16_linear", backend="reference", priority=-100)
class ReferenceW8A16Linear:
    """y = x · Wᵀ + bias, W dequantised to float32 for each call.

    The operation is a class: construction prepares the weights for the backend once, the call
    computes. x [..., in_features] -> [..., out_features] in x's dtype, `dtype`.

    weight: on the device that x will be on. bias [out_features] or None.
    Raises KernelError for a shape that the backend cannot take.
    """

    def __init__(self, weight: GroupedInt8, bias: Tensor | None, dtype: torch.dtype) -> None:
        self._weight = weight
        self._bias = bias
        self._dtype = dtype

    def __call__(self, x: Tensor) -> Tensor:
        y = x.float() @ dequantize_grouped(self._weight).T
        if self._bias is not None:
            y += self._bias.float()
        return y.to(self._dtype)

    @property
    def weight_bytes(self) -> int:
        """Bytes that one application reads: codes, scales, zeros, bias."""
        return held_bytes(self._weight, self._bias)
