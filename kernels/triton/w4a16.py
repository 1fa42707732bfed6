"""4-bit integer linear in Triton: a group's scale is applied once, to the accumulator."""

from __future__ import annotations

import torch
from torch import Tensor

from ..int4 import PackedInt4, unpack_int4
from .nibbles import Nibbles, NibblesLinear, grids, interleave, most_block_k, parts_for
from .register import implements_triton
from .tiles import block_k_for


@implements_triton("w4a16_linear")
class TritonW4A16Linear(NibblesLinear):
    """As the reference, for any group size; many rows multiply weights rounded to `dtype`."""

    def __init__(self, packed: PackedInt4, bias: Tensor | None, dtype: torch.dtype) -> None:
        group = packed.group_size
        block_k = block_k_for(group, most_block_k(dtype))
        nibbles = Nibbles(
            interleave(unpack_int4(packed), group, block_k, parts_for(block_k, dtype)),
            grids(packed.scales, packed.zeros),
            None,
            out_features=packed.out_features,
            in_features=packed.in_features,
            group=group,
            block_k=block_k,
        )
        super().__init__(nibbles, bias, dtype)
