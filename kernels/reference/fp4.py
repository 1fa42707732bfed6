"""A linear map with e2m1 weights and activations as they are.

Source: OCP Microscaling Formats Specification 1.0, 2023 (MXFP4); NVIDIA's NVFP4 as TensorRT Model
Optimizer writes it. Weights only: the form that devices without FP4 arithmetic compute.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..fp4 import WIDENED_E2M1, Fp4Weight, dequantize_fp4
from ..held import held_bytes
from ..registry import implements


@implements("fp4_linear", backend="reference", priority=-100, emulates=WIDENED_E2M1)
class ReferenceFp4Linear:
    """y = x · Wᵀ + bias, W dequantised to float32 for each call.

    The operation is a class: construction prepares the weights for the backend once, the call
    computes. x [..., in_features] -> [..., out_features] in x's dtype, `dtype`.

    weight: on the device that x will be on. bias [out_features] or None.
    Raises KernelError for a shape that the backend cannot take.
    """

    def __init__(self, weight: Fp4Weight, bias: Tensor | None, dtype: torch.dtype) -> None:
        self._weight = weight
        self._bias = bias
        self._dtype = dtype

    def __call__(self, x: Tensor) -> Tensor:
        y = x.float() @ dequantize_fp4(self._weight).T
        if self._bias is not None:
            y += self._bias.float()
        return y.to(self._dtype)

    @property
    def weight_bytes(self) -> int:
        """Bytes that one application reads: packed weights, scales, bias."""
        return held_bytes(self._weight, self._bias)
