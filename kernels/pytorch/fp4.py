"""FP4 linear in PyTorch, on any device: weights are widened for each call."""

from __future__ import annotations

import torch
from torch import Tensor

from ..bfloat16 import product_dtype
from ..fp4 import MAGNITUDES, WIDENED_E2M1, Fp4Weight, block_scales
from ..held import held_bytes
from ..registry import implements
from ..scratch import scratch


@implements("fp4_linear", backend="torch-widened", emulates=WIDENED_E2M1)
class WidenedFp4Linear:
    """As the reference, weights rounded to `dtype`, or where a CPU would emulate its products not
    at all. Half a byte a weight in memory, two or four in the product: saves memory, not time."""

    def __init__(self, weight: Fp4Weight, bias: Tensor | None, dtype: torch.dtype) -> None:
        self._weight = weight
        sizes = torch.tensor(MAGNITUDES, device=weight.nibbles.device)
        numbers = torch.cat((sizes, -sizes))
        # What the two nibbles of each byte stand for.
        byte = torch.arange(256, device=numbers.device)
        self._pairs = torch.stack((numbers[byte & 15], numbers[byte >> 4]), dim=-1)
        self._bias = bias
        self._wide_dtype = product_dtype(weight.nibbles.device, dtype)

    def __call__(self, x: Tensor) -> Tensor:
        weight = self._weight
        scales = block_scales(weight)
        pairs = self._pairs[weight.nibbles.int()].view(*scales.shape, weight.block)
        wide = scratch("fp4 weight", pairs.shape, self._wide_dtype, x.device)
        torch.mul(pairs, scales[..., None], out=pairs)
        y = (x.to(self._wide_dtype) @ wide.copy_(pairs).flatten(1).T).to(x.dtype)
        return y if self._bias is None else y + self._bias

    @property
    def weight_bytes(self) -> int:
        """Bytes that one application reads: packed weights, scales, bias."""
        return held_bytes(self._weight, self._bias)
