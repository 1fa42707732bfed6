"""8-bit weight-only linear in PyTorch, on any device: codes are widened for each call.

On a CPU in bfloat16, weights with one symmetric scale a row go through PyTorch's own operator
while rows are few: it reads a byte a weight.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..grouped_int8 import MIDDLE_CODE, GroupedInt8
from ..held import held_bytes
from ..registry import bfloat16_on_cpu, implements
from ..scratch import scratch

# With more, widening once costs less than what the operator loses on every row.
MOST_OPERATOR_ROWS = 8
# The operator of PyTorch 2.13 reads past the end of rows that are no multiple of this.
OPERATOR_K_MULTIPLE = 32


@implements("w8a16_linear", backend="torch-widened")
class WidenedW8A16Linear:
    """As the reference, weights rounded to `dtype`: a byte a weight in memory, two or four in the
    product."""

    def __init__(self, weight: GroupedInt8, bias: Tensor | None, dtype: torch.dtype) -> None:
        # Signed, so that a code less 128 is what bfloat16 holds exactly.
        self._codes = weight.codes.bitwise_xor(MIDDLE_CODE).view(torch.int8)
        self._scales = weight.scales.float()
        shifts = (MIDDLE_CODE - weight.zeros.float()) * self._scales
        self._shifts = shifts if bool(shifts.any()) else None
        self._group_size = weight.group_size
        self._bias = bias
        self._dtype = dtype

    def __call__(self, x: Tensor) -> Tensor:
        y = x @ self._widened().T
        return y if self._bias is None else y + self._bias

    def _widened(self) -> Tensor:
        """W [out_features, in_features] in scratch."""
        n, k = self._codes.shape
        wide = scratch(
            "w8a16 float",
            (n, k // self._group_size, self._group_size),
            torch.float32,
            self._codes.device,
        )
        torch.mul(self._codes.view_as(wide), self._scales[..., None], out=wide)
        if self._shifts is not None:
            wide += self._shifts[..., None]
        if self._dtype == torch.float32:
            return wide.view(n, k)
        return scratch("w8a16 weight", (n, k), self._dtype, self._codes.device).copy_(
            wide.view(n, k)
        )

    @property
    def weight_bytes(self) -> int:
        """Bytes that one application reads: codes, scales, shifts, bias."""
        return held_bytes(self._codes, self._scales, self._shifts, self._bias)


def _a_scale_a_row(weight: GroupedInt8, _bias: Tensor | None, _dtype: torch.dtype) -> bool:
    """Symmetric, too."""
    return (
        weight.group_size == weight.in_features
        and weight.in_features % OPERATOR_K_MULTIPLE == 0
        and bool((weight.zeros == MIDDLE_CODE).all())
    )


def _few_rows(_weight: GroupedInt8, _bias: Tensor | None, _dtype: torch.dtype, x: Tensor) -> bool:
    return x.numel() <= MOST_OPERATOR_ROWS * x.shape[-1]


@implements(
    "w8a16_linear",
    backend="torch-cpu",
    when=bfloat16_on_cpu,
    priority=10,
    takes=_a_scale_a_row,
    prefers=_few_rows,
)
class OperatorW8A16Linear:
    """As the reference, for a scale a row that is symmetric; scales are rounded to bfloat16."""

    def __init__(self, weight: GroupedInt8, bias: Tensor | None, dtype: torch.dtype) -> None:
        self._codes = weight.codes.bitwise_xor(MIDDLE_CODE).view(torch.int8)
        self._scales = weight.scales[:, 0].to(dtype).contiguous()
        self._bias = bias

    def __call__(self, x: Tensor) -> Tensor:
        rows = x.reshape(-1, x.shape[-1]).contiguous()
        y = torch.ops.aten._weight_int8pack_mm(rows, self._codes, self._scales)
        if self._bias is not None:
            y += self._bias
        return y.view(*x.shape[:-1], len(self._codes))

    @property
    def weight_bytes(self) -> int:
        """Bytes that one application reads: codes, scales, bias."""
        return held_bytes(self._codes, self._scales, self._bias)
