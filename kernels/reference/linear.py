"""A linear map with weights in the activations' dtype."""

from __future__ import annotations

from torch import Tensor

from ..registry import implements


@implements("linear", backend="reference", priority=-100)
def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x · Wᵀ + bias, in float32, rounded once.

    x [..., in_features], any strides; weight [out_features, in_features] and bias [out_features],
    contiguous; all of one dtype, on one device. Returns [..., out_features]. No gradient.
    """
    y = x.float() @ weight.float().T
    if bias is not None:
        y += bias.float()
    return y.to(x.dtype)
