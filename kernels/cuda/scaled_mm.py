"""FP8 linear by cuBLAS, through PyTorch's scaled product."""

from __future__ import annotations

import torch
from torch import Tensor

from ..fp8 import Fp8Weight, quantize_activations
from ..registry import KernelError, implements

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


def _runs(device: torch.device, dtype: torch.dtype) -> bool:
    # cuBLAS scales rows into bfloat16 only.
    return dtype == torch.bfloat16 and multiplies_e4m3(device)


def check_scaled_mm_takes(weight: Fp8Weight) -> None:
    """Raises KernelError for blocks, or sizes that 16 does not divide."""
    if weight.groups != 1:
        raise KernelError(f"blocks of {weight.block_columns} columns; one scale a row is needed")
    if weight.out_features % MULTIPLE or weight.in_features % MULTIPLE:
        sizes = f"{weight.out_features} x {weight.in_features}"
        raise KernelError(f"{sizes} is not made of multiples of {MULTIPLE}")


@implements("fp8_linear", backend="torch-scaled-mm", when=_runs, priority=50)
class ScaledMmFp8Linear:
    """As the reference. Raises KernelError as `check_scaled_mm_takes` does."""

    def __init__(self, weight: Fp8Weight, bias: Tensor | None, dtype: torch.dtype) -> None:
        check_scaled_mm_takes(weight)
        self._weight = weight
        # The operator wants its second factor's columns contiguous: Wᵀ as it lies.
        self._transposed = weight.codes.T
        self._row_scales = weight.row_scales().T.contiguous()
        self._bias = bias
        self._dtype = dtype

    def __call__(self, x: Tensor) -> Tensor:
        codes, scales = quantize_activations(x.reshape(-1, x.shape[-1]), self._weight)
        return self.multiply(codes, scales).view(*x.shape[:-1], self._weight.out_features)

    def multiply(self, codes: Tensor, scales: Tensor) -> Tensor:
        """Activations that are quantised, e4m3 [T, K] and float32 [T, 1] -> [T, N]."""
        return torch.ops.aten._scaled_mm(
            codes,
            self._transposed,
            scale_a=scales,
            scale_b=self._row_scales,
            bias=self._bias,
            out_dtype=self._dtype,
        )

    @property
    def weight_bytes(self) -> int:
        """Bytes that one application reads: codes, scales, bias."""
        bias = 0 if self._bias is None else self._bias.nbytes
        return self._weight.codes.nbytes + self._row_scales.nbytes + bias
