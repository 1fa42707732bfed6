"""4-bit linear in PyTorch; in memory the weights are never anything but packed.

A few rows in bfloat16 on a CPU go through PyTorch's packed operator. More rows, and every other
dtype, for which that operator is 30-100 times slower than a dense product, widen the weights into
scratch that all layers share and multiply there: a cost a row of about 1/30 of the widening.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..held import held_bytes
from ..int4 import PackedInt4, unpack_int4
from ..registry import bfloat16_on_cpu, implements, in_usual_dtypes
from ..scratch import scratch

GROUP_SIZES = (32, 64, 128, 256)
OUT_FEATURES_MULTIPLE = 16
# Measured on AVX-512: the packed operator costs 14 us a row of 960 x 576, widening 270 us in all.
MOST_PACKED_ROWS = 24


def takes(packed: PackedInt4, bias: Tensor | None, dtype: torch.dtype) -> bool:  # noqa: ARG001
    """What PyTorch's operator has code for."""
    return packed.group_size in GROUP_SIZES and packed.out_features % OUT_FEATURES_MULTIPLE == 0


def _prefers_few_rows(
    packed: PackedInt4,
    bias: Tensor | None,  # noqa: ARG001
    dtype: torch.dtype,  # noqa: ARG001
    x: Tensor,
) -> bool:
    return x.numel() <= MOST_PACKED_ROWS * packed.in_features


@implements(
    "w4a16_linear",
    backend="torch-cpu",
    when=bfloat16_on_cpu,
    priority=10,
    takes=takes,
    prefers=_prefers_few_rows,
)
class OperatorW4A16Linear:
    """As the reference, of weights that `takes`. Scales, and zero points times scales, are rounded
    to bfloat16."""

    def __init__(self, packed: PackedInt4, bias: Tensor | None, dtype: torch.dtype) -> None:
        self._group_size = packed.group_size
        self._out_features = packed.out_features
        self._bias = bias
        self._scales_and_shifts = _scales_and_shifts(packed, dtype)
        self._weight = torch.ops.aten._convert_weight_to_int4pack_for_cpu(
            unpack_int4(packed).to(torch.int32), 2
        )

    def __call__(self, x: Tensor) -> Tensor:
        rows = x.reshape(-1, x.shape[-1]).contiguous()
        y = torch.ops.aten._weight_int4pack_mm_for_cpu(
            rows, self._weight, self._group_size, self._scales_and_shifts
        )
        if self._bias is not None:
            y += self._bias
        return y.view(*x.shape[:-1], self._out_features)

    @property
    def weight_bytes(self) -> int:
        """Bytes that one application reads: packed weights, scales, shifts, bias."""
        return held_bytes(self._weight, self._scales_and_shifts, self._bias)


@implements("w4a16_linear", backend="torch-widened", when=in_usual_dtypes)
class WidenedW4A16Linear:
    """As the reference. Scales, and zero points times scales, are rounded to `dtype`."""

    def __init__(self, packed: PackedInt4, bias: Tensor | None, dtype: torch.dtype) -> None:
        self._group_size = packed.group_size
        self._bias = bias
        self._scales_and_shifts = _scales_and_shifts(packed, dtype)
        self._halves = _pack_halves(unpack_int4(packed))

    def __call__(self, x: Tensor) -> Tensor:
        y = x @ self._widened(x.dtype)
        return y if self._bias is None else y + self._bias

    def _widened(self, dtype: torch.dtype) -> Tensor:
        """Wᵀ [in_features, out_features] in scratch."""
        half, columns = self._halves.shape
        device = self._halves.device
        nibbles = scratch("w4a16 nibbles", (half, columns), torch.int8, device)
        weight = scratch("w4a16 weight", (2 * half, columns), dtype, device)
        # Arithmetic shifts of a signed byte extend the sign of its nibbles, q - 8.
        torch.bitwise_left_shift(self._halves, 4, out=nibbles)
        weight[:half].copy_(nibbles.bitwise_right_shift_(4))
        weight[half:].copy_(torch.bitwise_right_shift(self._halves, 4, out=nibbles))
        groups = weight.view(-1, self._group_size, columns)
        scales, shifts = self._scales_and_shifts.unsqueeze(1).unbind(-1)
        torch.addcmul(shifts, groups, scales, out=groups)
        return weight

    @property
    def weight_bytes(self) -> int:
        """Bytes that one application reads: packed weights, scales, shifts, bias."""
        return held_bytes(self._halves, self._scales_and_shifts, self._bias)


def _scales_and_shifts(packed: PackedInt4, dtype: torch.dtype) -> Tensor:
    """[groups, N, 2], for w = (q - 8) · scale + shift, which is (q - zero) · scale."""
    scales = packed.scales.float()
    shifts = (8.0 - packed.zeros.float()) * scales
    return torch.stack((scales, shifts), dim=-1).transpose(0, 1).to(dtype).contiguous()


def _pack_halves(codes: Tensor) -> Tensor:
    """Codes [N, K] -> int8 [K / 2, N]: row r holds q - 8 of k = r low and of k = r + K / 2 high.

    Both halves unpack to runs of whole rows, where neighbours in a byte would interleave.
    """
    low, high = (codes.T ^ 8).chunk(2)
    return (low | (high << 4)).contiguous().view(torch.int8)
