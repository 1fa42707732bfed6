"""A linear map with 4-bit weights and 8-bit activations: integers multiplied, scales applied after.

Source: Lin et al., "QServe", 2024, who name it W4A8; that activations have a scale for a group of
inputs, and not for a token, is llama.cpp's (its Q4_0 weights times Q8_0 activations).
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..held import held_bytes
from ..int4 import PackedInt4, unpack_int4
from ..registry import implements
from ..w8a8 import quantize_rows


@implements(
    "w4a8_linear",
    backend="reference",
    priority=-100,
    emulates="codes are unpacked and multiplied as float64: exact, and no faster arithmetic",
)
class ReferenceW4A8Linear:
    """y[t, n] = Σ_g scales[n, g] · x_scales[t, g] · S[t, n, g] + bias[n], where S is the sum over
    the inputs k of group g of x_codes[t, k] · (q[n, k] - zeros[n, g]), exact.

    The operation is a class: construction prepares the weights for the backend once, the call
    computes. x [..., in_features] -> [..., out_features] in x's dtype, `dtype`. x_codes and
    x_scales are `quantize_rows` of the inputs of a group, those that share a weight's scale.

    packed: on the device that x will be on. bias [out_features] or None.
    Raises KernelError for a shape that the backend cannot take.
    """

    def __init__(self, packed: PackedInt4, bias: Tensor | None, dtype: torch.dtype) -> None:
        self._packed = packed
        self._bias = bias
        self._dtype = dtype

    def __call__(self, x: Tensor) -> Tensor:
        packed = self._packed
        codes, x_scales = quantize_rows(x.unflatten(-1, (-1, packed.group_size)))
        q = unpack_int4(packed).unflatten(1, (-1, packed.group_size)).double()
        # Exact: below 2^53 a product in float64 is a product of integers.
        sums = torch.einsum("...gk,ngk->...ng", codes.double(), q - packed.zeros[..., None])
        y = (sums.float() * x_scales[..., None, :] * packed.scales.float()).sum(-1)
        if self._bias is not None:
            y += self._bias.float()
        return y.to(self._dtype)

    @property
    def weight_bytes(self) -> int:
        """Bytes that one application reads: packed weights, scales, zeros, bias."""
        return held_bytes(self._packed, self._bias)
