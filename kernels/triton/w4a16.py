"""4-bit integer linear in Triton: a group's scale is applied once, to the accumulator."""

from __future__ import annotations

import torch
from torch import Tensor

from ..int4 import PackedInt4, unpack_int4
from ..registry import implements
from ..requirements import package
from .nibbles import Nibbles, grids, interleave, most_block_k, multiply_nibbles, parts_for
from .target import on_gpu
from .tiles import block_k_for


@implements("w4a16_linear", backend="triton", when=on_gpu, priority=100, needs=package("triton"))
class TritonW4A16Linear:
    """As the reference, for any group size; many rows multiply weights rounded to `dtype`."""

    def __init__(self, packed: PackedInt4, bias: Tensor | None, dtype: torch.dtype) -> None:
        group = packed.group_size
        block_k = block_k_for(group, most_block_k(dtype))
        self._weight = Nibbles(
            interleave(unpack_int4(packed), group, block_k, parts_for(block_k, dtype)),
            grids(packed.scales, packed.zeros),
            None,
            out_features=packed.out_features,
            in_features=packed.in_features,
            group=group,
            block_k=block_k,
        )
        self._bias = bias if bias is None else bias.to(dtype).contiguous()

    def __call__(self, x: Tensor) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])
        if rows.stride(-1) != 1:
            rows = rows.contiguous()
        y = multiply_nibbles(rows, self._weight, self._bias)
        return y.view(*x.shape[:-1], self._weight.out_features)

    @property
    def weight_bytes(self) -> int:
        """Bytes that one application reads: weights, scales with zero points, bias."""
        return self._weight.nbytes + (0 if self._bias is None else self._bias.nbytes)
