"""The uniform grids of integer weights: a scale and a zero point for each group of input features.

Rounding to the nearest point of one is the baseline that GPTQ and AWQ must beat, and what they do
to a weight once they have changed it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import gcd

import torch
import torch.nn.functional as F
from torch import Tensor

from ...kernels.division import divided
from ...kernels.grouped_int8 import GroupedInt8
from ...kernels.int4 import PackedInt4, pack_int4, unpack_int4
from ...kernels.registry import KernelError
from ..errors import ConfigError

GROUP_SIZES = (128, 64, 32)
# The smallest float16 above zero: a group of zeros still needs a scale to divide by. The smallest
# normal one, 2^-14, would be too coarse for eight bits of weights below 0.008.
_LEAST_SCALE = 2.0**-24


@dataclass(frozen=True)
class GridFormat:
    """bits: of a code, 4 or 8. group_size: inputs that share a scale, the last group may be
    shorter; None: all of a row. symmetric: the zero point is the middle code."""

    bits: int = 4
    group_size: int | None = None
    symmetric: bool = False

    @property
    def largest(self) -> int:
        """The largest code; the smallest is 0."""
        return 2**self.bits - 1

    @property
    def middle(self) -> int:
        """The zero point of a symmetric grid."""
        return 2 ** (self.bits - 1)


@dataclass(frozen=True, eq=False)
class Grid:
    """scales, zeros: float32 [..., groups]. A scale is one that float16 holds exactly, as
    checkpoints store it; a zero point is a whole number within the codes."""

    scales: Tensor
    zeros: Tensor
    format: GridFormat

    def codes(self, groups: Tensor) -> Tensor:
        """The nearest code of each weight [..., groups, size], float32."""
        codes = (groups / self.scales[..., None]).round_().add_(self.zeros[..., None])
        return codes.clamp_(0, self.format.largest)

    def values(self, codes: Tensor) -> Tensor:
        """The weights that codes [..., groups, size] stand for, float32."""
        return (codes - self.zeros[..., None]) * self.scales[..., None]


def choose_group_size(in_features: Iterable[int]) -> int:
    """The largest of GROUP_SIZES that divides every layer's in_features. Raises ConfigError, with
    one that does not, if there is one that can be asked for."""
    sizes = sorted(set(in_features))
    for group_size in GROUP_SIZES:
        if all(size % group_size == 0 for size in sizes):
            return group_size
    shorter = next((size for size in GROUP_SIZES if all(in_pieces(size, k) for k in sizes)), None)
    way_out = f"; --group-size {shorter} leaves a shorter last group" if shorter else ""
    raise ConfigError("group_size", sizes, f"in_features divisible by {GROUP_SIZES[-1]}{way_out}")


def in_pieces(group_size: int, in_features: int) -> bool:
    """Whether kernels read such groups, the last maybe shorter: in pieces of no fewer than 8."""
    return 0 < group_size <= in_features and not (group_size % 8 or in_features % group_size % 8)


def in_groups(weight: Tensor, group_size: int | None) -> Tensor:
    """[out, in] -> [out, groups, group_size], a shorter last group filled up with zeros, which
    change no range: every range includes 0."""
    size = weight.shape[1] if group_size is None else group_size
    return F.pad(weight, (0, -weight.shape[1] % size)).unflatten(1, (-1, size))


def fit_grid(groups: Tensor, format: GridFormat) -> Grid:
    """The grid whose range reaches from each group's minimum to its maximum and includes 0, so
    that the zero point is a code; of a symmetric one, as far to both sides.

    groups: float32 [..., size]. Source: Frantar et al., "GPTQ", 2023, section 4, and its
    reference code.
    """
    high = groups.amax(dim=-1).clamp(min=0)
    low = groups.amin(dim=-1).clamp(max=0)
    if format.symmetric:
        high = torch.maximum(high, -low)
        low = -high
    scales = divided(high - low, format.largest).clamp(min=_LEAST_SCALE).half().float()
    if format.symmetric:
        return Grid(scales, torch.full_like(scales, format.middle), format)
    return Grid(scales, (-low / scales).round().clamp(0, format.largest), format)


def round_to_grid(weight: Tensor, format: GridFormat) -> Tensor:
    """The nearest point of its grid to each weight; float32 [out, in]."""
    groups = in_groups(weight, format.group_size)
    grid = fit_grid(groups, format)
    return grid.values(grid.codes(groups)).flatten(1)[:, : weight.shape[1]]


def rtn_pack(weight: Tensor, format: GridFormat) -> PackedInt4 | GroupedInt8:
    """Round to nearest and pack; weight [out_features, in_features] of any floating dtype."""
    weight = weight.float()
    groups = in_groups(weight, format.group_size)
    grid = fit_grid(groups, format)
    return pack_codes(grid.codes(groups).flatten(1)[:, : weight.shape[1]], grid)


def pack_codes(codes: Tensor, grid: Grid) -> PackedInt4 | GroupedInt8:
    """codes [out, in], whole numbers, and their grid [out, groups] -> the form of their bits."""
    size = grid.format.group_size or codes.shape[1]
    scales, zeros = grid.scales.half(), grid.zeros.to(torch.uint8)
    return pack_groups(codes.to(torch.uint8), scales, zeros, grid.format.bits, size)


def held_group_size(in_features: int, group_size: int) -> int:
    """The size of the groups that rows are held in: as asked where it divides them, else the
    largest that divides the last, shorter group, too."""
    return gcd(group_size, in_features)


def pack_groups(
    codes: Tensor, scales: Tensor, zeros: Tensor, bits: int, group_size: int
) -> PackedInt4 | GroupedInt8:
    """uint8 codes [out, in], scales and uint8 zeros [out, ceil(in / group_size)].

    A last group that is shorter than the others is written as several of a size that divides both.
    Raises KernelError for what the form of these bits cannot hold.
    """
    in_features = codes.shape[1]
    size = held_group_size(in_features, group_size)
    if size != group_size:
        first = torch.arange(0, in_features, size, device=codes.device) // group_size
        scales, zeros = scales[:, first], zeros[:, first]
    if bits == 4:
        return pack_int4(codes, scales, zeros, size)
    return GroupedInt8(codes.contiguous(), scales, zeros, size)


def codes_in_groups(
    weight: object, bits: int, group_size: int | None
) -> tuple[Tensor, Tensor, Tensor]:
    """The inverse of `pack_groups`: codes, scales and zeros in groups of `group_size`, of a row
    where it is None.

    Raises KernelError for a weight of another form, and for one whose groups are others.
    """
    if not isinstance(weight, PackedInt4 if bits == 4 else GroupedInt8):
        raise KernelError(f"it is no weight of {bits} bits in groups")
    size = group_size or weight.in_features
    scales, zeros = weight.scales, weight.zeros
    first = torch.arange(0, weight.in_features, weight.group_size, device=zeros.device) // size
    kept = torch.arange(0, weight.in_features, size, device=zeros.device) // weight.group_size
    if not all(torch.equal(part[:, kept][:, first], part) for part in (scales, zeros)):
        raise KernelError(f"its groups of {weight.group_size} are not parts of groups of {size}")
    codes = unpack_int4(weight) if isinstance(weight, PackedInt4) else weight.codes
    return codes, scales[:, kept].contiguous(), zeros[:, kept].contiguous()
