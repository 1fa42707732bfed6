"""FP8 linear by cuBLAS, through PyTorch's scaled product."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from ..fp8 import Fp8Weight, quantize_activations
from ..held import held_bytes
from ..registry import implements

# Devices before it have no e4m3 product.
LEAST_CAPABILITY = (8, 9)
MULTIPLE = 16


def multiplies_e4m3(device: torch.device) -> bool:
    """Whether the device's tensor cores take e4m3: Ada, Hopper and later; not AMD's."""
    return (
        device.type == "cuda"
        and torch.version.hip is None
        and torch.cuda.is_available()
        and torch.cuda.get_device_capability(device) >= LEAST_CAPABILITY
    )


def runs(device: torch.device, dtype: torch.dtype) -> bool:
    """Where cuBLAS scales rows: into bfloat16 only."""
    return dtype == torch.bfloat16 and multiplies_e4m3(device)


def takes(weight: Fp8Weight, bias: Tensor | None, dtype: torch.dtype) -> bool:  # noqa: ARG001
    """One scale a row, not blocks of columns, and sizes that MULTIPLE divides."""
    return (
        weight.groups == 1
        and weight.out_features % MULTIPLE == 0
        and weight.in_features % MULTIPLE == 0
    )


@implements("fp8_linear", backend="torch-scaled-mm", when=runs, priority=50, takes=takes)
class ScaledMmFp8Linear:
    """As the reference, of weights that `takes`."""

    # Whether sums stay in the tensor cores' registers, of some 14 bits, or are added up in float32.
    _fast: ClassVar[bool] = False

    def __init__(self, weight: Fp8Weight, bias: Tensor | None, dtype: torch.dtype) -> None:
        self._weight = weight
        # The operator wants its second factor's columns contiguous: Wᵀ as it lies.
        self._transposed = weight.codes.T
        self._row_scales = weight.row_scales().T.contiguous()
        self._bias = bias
        self._dtype = dtype

    def __call__(self, x: Tensor) -> Tensor:
        codes, scales = self._quantized(x.reshape(-1, x.shape[-1]))
        y = torch.ops.aten._scaled_mm(
            codes,
            self._transposed,
            scale_a=scales,
            scale_b=self._row_scales,
            bias=self._bias,
            out_dtype=self._dtype,
            use_fast_accum=self._fast,
        )
        return y.view(*x.shape[:-1], self._weight.out_features)

    def _quantized(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """x [T, K] -> e4m3 [T, K] and float32 [T, 1]."""
        return quantize_activations(rows, self._weight)

    @property
    def weight_bytes(self) -> int:
        """Bytes that one application reads: codes, scales, bias."""
        return held_bytes(self._weight.codes, self._row_scales, self._bias)
