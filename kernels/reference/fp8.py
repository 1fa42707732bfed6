"""A linear map with e4m3 weights and activations.

Source: Micikevicius et al., "FP8 Formats for Deep Learning", 2022, section 4 (values scaled into
the format's range, products accumulated wide); scales a token as in compressed-tensors'
`float-quantized`, a token and group of 128 as in DeepSeek-V3's Technical Report, section 3.3.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..fp8 import WIDENED_E4M3, Fp8Weight, dequantize_fp8, quantize_activations
from ..held import held_bytes
from ..registry import implements


@implements("fp8_linear", backend="reference", priority=-100, emulates=WIDENED_E4M3)
class ReferenceFp8Linear:
    """y = x̂ · Wᵀ + bias, x̂ what x is once quantised (`quantize_activations`), summed in float64.

    The operation is a class: construction prepares the weights for the backend once, the call
    computes. x [..., in_features] -> [..., out_features] in x's dtype, `dtype`.

    Every implementation quantises the activations. Where the device has no e4m3 product the codes
    are widened first, which is exact: products of two e4m3 numbers are float16 numbers' products.

    weight: on the device that x will be on. bias [out_features] or None.
    Raises KernelError for a shape that the backend cannot take.
    """

    def __init__(self, weight: Fp8Weight, bias: Tensor | None, dtype: torch.dtype) -> None:
        self._weight = weight
        self._bias = bias
        self._dtype = dtype

    def __call__(self, x: Tensor) -> Tensor:
        weight = self._weight
        codes, scales = quantize_activations(x.reshape(-1, x.shape[-1]), weight)
        columns = scales.double().repeat_interleave(weight.block_columns, 1)
        rounded = codes.double() * columns[:, : weight.in_features]
        y = rounded @ dequantize_fp8(weight).double().T
        if self._bias is not None:
            y += self._bias.double()
        return y.to(self._dtype).view(*x.shape[:-1], weight.out_features)

    @property
    def weight_bytes(self) -> int:
        """Bytes that one application reads: codes, scales, bias."""
        return held_bytes(self._weight, self._bias)
