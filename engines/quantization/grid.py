"""The asymmetric 4-bit grid: a scale and a zero point for each group of input features.

Rounding to the nearest point of it is the baseline that AWQ must beat, and what AWQ does to a
weight once it has been scaled and clipped.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from ...kernels.packing import PackedInt4, pack
from ..errors import ConfigError

GROUP_SIZES = (128, 64, 32)
LEVELS = 15
# The smallest normal float16: a group of zeros still needs a scale to divide by.
_LEAST_SCALE = 2.0**-14


def choose_group_size(in_features: Iterable[int]) -> int:
    """The largest of GROUP_SIZES that divides every layer's in_features. Raises ConfigError."""
    sizes = sorted(set(in_features))
    for group_size in GROUP_SIZES:
        if all(size % group_size == 0 for size in sizes):
            return group_size
    raise ConfigError("group_size", sizes, f"in_features divisible by {GROUP_SIZES[-1]}")


def grid(weight: Tensor, group_size: int) -> tuple[Tensor, Tensor]:
    """Scales and zero points, both [out, in / group_size], of weight float32 [out, in].

    The range of a group reaches from its minimum to its maximum and includes 0, so that the zero
    point fits in 4 bits. Scales are float32 numbers that float16 holds exactly, as it stores them.
    """
    groups = weight.unflatten(1, (-1, group_size))
    high = groups.amax(dim=-1).clamp(min=0)
    low = groups.amin(dim=-1).clamp(max=0)
    scales = ((high - low) / LEVELS).clamp(min=_LEAST_SCALE).half().float()
    zeros = (-low / scales).round().clamp(0, LEVELS)
    return scales, zeros


def round_to_grid(weight: Tensor, group_size: int) -> Tensor:
    """The nearest point of its grid to each weight, float32 [out, in]."""
    scales, zeros = (part[..., None] for part in grid(weight, group_size))
    codes = weight.unflatten(1, (-1, group_size)).div(scales).round_().add_(zeros)
    return codes.clamp_(0, LEVELS).sub_(zeros).mul_(scales).flatten(1)


def rtn_pack(weight: Tensor, group_size: int) -> PackedInt4:
    """Round to nearest and pack; weight [out_features, in_features] of any floating dtype."""
    weight = weight.float()
    scales, zeros = grid(weight, group_size)
    groups = weight.unflatten(1, (-1, group_size))
    codes = (groups / scales[..., None]).round_().add_(zeros[..., None]).clamp_(0, LEVELS)
    return pack(codes.flatten(1).to(torch.uint8), scales.half(), zeros.to(torch.uint8), group_size)
