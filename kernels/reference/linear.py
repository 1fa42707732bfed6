"""A linear map with weights in the activations' dtype."""

from __future__ import annotations

import torch
from torch import Tensor

from ..held import held_bytes
from ..registry import implements


@implements("linear", backend="reference", priority=-100)
class ReferenceLinear:
    """y = x · Wᵀ + bias, in float32, rounded once.

    The operation is a class: construction prepares the weights for the backend once, the call
    computes. x [..., in_features], any strides -> [..., out_features]. No gradient.

    weight [out_features, in_features], bias [out_features] or None: in `dtype`, that of x, on the
    device that x will be on. Raises KernelError for what the backend cannot take.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, dtype: torch.dtype) -> None:
        self._weight = weight
        self._bias = bias
        self._dtype = dtype

    def __call__(self, x: Tensor) -> Tensor:
        y = x.float() @ self._weight.float().T
        if self._bias is not None:
            y += self._bias.float()
        return y.to(self._dtype)

    @property
    def weight_bytes(self) -> int:
        """Bytes that one application reads: weight and bias."""
        return held_bytes(self._weight, self._bias)
