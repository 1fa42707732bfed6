"""4-bit linear with 8-bit activations in PyTorch: integers multiplied as float32, by groups."""

from __future__ import annotations

import torch
from torch import Tensor

from ..held import held_bytes
from ..int4 import PackedInt4
from ..registry import implements, in_usual_dtypes
from ..w8a8 import quantize_rows


@implements(
    "w4a8_linear",
    backend="torch",
    when=in_usual_dtypes,
    emulates="codes are multiplied as float32: fewer bytes, no faster arithmetic",
)
class TorchW4A8Linear:
    """As the reference: float32 holds every integer that the sums of up to 8192 inputs come to.
    Weights stay packed but for those of the group at hand."""

    def __init__(self, packed: PackedInt4, bias: Tensor | None, dtype: torch.dtype) -> None:
        self._group_size = packed.group_size
        # [groups, group_size / 2, out_features]
        self._nibbles = packed.nibbles.T.unflatten(0, (-1, packed.group_size // 2)).contiguous()
        self._zeros = packed.zeros.T.float().contiguous()
        self._scales = packed.scales.T.float().contiguous()
        self._bias = bias
        self._dtype = dtype

    def __call__(self, x: Tensor) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])
        codes, x_scales = quantize_rows(rows.unflatten(-1, (-1, self._group_size)))
        y = x_scales.new_zeros(len(rows), self._scales.shape[1])
        for g, both in enumerate(self._nibbles):
            even, odd = ((half - self._zeros[g]) for half in (both & 15, both >> 4))
            of_x = codes[:, g].float()
            sums = torch.addmm(of_x[:, 0::2] @ even, of_x[:, 1::2], odd)
            y.addcmul_(sums.mul_(x_scales[:, g, None]), self._scales[g])
        if self._bias is not None:
            y += self._bias
        return y.to(self._dtype).view(*x.shape[:-1], y.shape[1])

    @property
    def weight_bytes(self) -> int:
        """Bytes that one application reads: packed weights, scales, zeros, bias."""
        return held_bytes(self._nibbles, self._zeros, self._scales, self._bias)
