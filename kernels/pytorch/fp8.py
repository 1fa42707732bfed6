"""FP8 linear where nothing multiplies e4m3: codes are widened for each call, in PyTorch."""

from __future__ import annotations

import torch
from torch import Tensor

from ..bfloat16 import product_dtype
from ..fp8 import WIDENED_E4M3, Fp8Weight, quantize_activations
from ..held import held_bytes
from ..registry import implements
from ..scratch import scratch


@implements("fp8_linear", backend="torch-widened", emulates=WIDENED_E4M3)
class WidenedFp8Linear:
    """As the reference, on any device: weights of one byte in memory, of two or four in the
    product. Saves memory, not time. float16, in which sums of codes overflow, computes in
    float32, and so does bfloat16 where a CPU would emulate it."""

    def __init__(self, weight: Fp8Weight, bias: Tensor | None, dtype: torch.dtype) -> None:
        self._weight = weight
        self._row_scales = weight.row_scales()
        self._bias = bias
        self._dtype = dtype
        wide = torch.bfloat16 if dtype == torch.bfloat16 else torch.float32
        self._wide_dtype = product_dtype(weight.codes.device, wide)

    def __call__(self, x: Tensor) -> Tensor:
        codes, scales = quantize_activations(x.reshape(-1, x.shape[-1]), self._weight)
        # bfloat16 holds every code, so only the product's result is rounded.
        wide = scratch("fp8 weight", self._weight.codes.shape, self._wide_dtype, x.device)
        wide.copy_(self._weight.codes)
        rows = codes.to(self._wide_dtype)
        if self._weight.groups == 1:
            y = (rows @ wide.T).float() * (scales * self._row_scales.T)
        else:
            y = self._sum_of_groups(rows, scales, wide)
        if self._bias is not None:
            y += self._bias
        return y.to(self._dtype).view(*x.shape[:-1], self._weight.out_features)

    def _sum_of_groups(self, rows: Tensor, scales: Tensor, wide: Tensor) -> Tensor:
        """float32 [T, N]; each group of columns has scales of its own."""
        columns = self._weight.block_columns
        parts = zip(rows.split(columns, 1), wide.split(columns, 1), strict=True)
        y = torch.zeros(len(rows), len(wide), dtype=torch.float32, device=rows.device)
        for group, (left, right) in enumerate(parts):
            scale = scales[:, group, None] * self._row_scales[:, group]
            y += (left @ right.T).float() * scale
        return y

    @property
    def weight_bytes(self) -> int:
        """Bytes that one application reads: codes, scales, bias."""
        return held_bytes(self._weight, self._bias)
