"""A linear map with 8-bit weights and activations: integers multiplied, scales applied after.

Source: Xiao et al., "SmoothQuant", 2023, section 3, with a scale a row of the weights and, taken
from the activations themselves, a scale a token (its table 2, "per-token dynamic").
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..held import held_bytes
from ..registry import implements
from ..w8a8 import W8A8Weight, quantize_rows


@implements(
    "w8a8_linear",
    backend="reference",
    priority=-100,
    emulates="codes are multiplied as float64: exact, and no faster arithmetic",
)
class ReferenceW8A8Linear:
    """y[t, n] = (Σ_k x_codes[t, k] · codes[n, k]) · x_scales[t] · scales[n] + bias[n].

    The operation is a class: construction prepares the weights for the backend once, the call
    computes. x [..., in_features] -> [..., out_features] in x's dtype, `dtype`; `quantize_rows`
    says what x_codes and x_scales are. The sum is exact, in 32-bit integers.

    weight: on the device that x will be on. bias [out_features] or None.
    Raises KernelError for a shape that the backend cannot take.
    """

    def __init__(self, weight: W8A8Weight, bias: Tensor | None, dtype: torch.dtype) -> None:
        self._weight = weight
        self._bias = bias
        self._dtype = dtype

    def __call__(self, x: Tensor) -> Tensor:
        codes, scales = quantize_rows(x)
        # Exact: below 2^53 a product in float64 is a product of integers.
        sums = (codes.double() @ self._weight.codes.double().T).float()
        y = sums * scales[..., None] * self._weight.scales
        if self._bias is not None:
            y += self._bias.float()
        return y.to(self._dtype)

    @property
    def weight_bytes(self) -> int:
        """Bytes that one application reads: codes, scales, bias."""
        return held_bytes(self._weight, self._bias)
