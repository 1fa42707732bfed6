"""Weights in eight bits beside dense ones, by which a greedy step finds the few logits that matter.

A step that wants only the likeliest token reads an output projection of which nearly all rows are
far from the largest. `screen.h` says how half of the bytes tell which are not, for certain; the
others are then computed as ever, so that the token is the one that it would have been, bit by bit.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

import torch
from torch import Tensor

from ..grouped_int8 import MIDDLE_CODE, GroupedInt8
from ..w8a8 import quantize_rows
from .build import Target
from .library import Native
from .packed import Kind, NativeWeights, PackedMap, unpack_dense
from .w8a16 import NativeW8A16Linear, takes

# A smaller map stays in a processor's cache, and codes would have to be widened for nothing: one of
# 1 MB takes longer with a screen.
LEAST_BYTES = 8 << 20
# Of the weights, looked at together while a screen is made.
_PANELS_AT_A_TIME = 256
# A sum of float32 products is off by no more than this of the sum of their sizes, for each product
# (Higham, "Accuracy and Stability of Numerical Algorithms", 2002, section 3.1: half as much).
_ROUNDING = 2.0**-23
# A sum of k products with few more operations around it.
_FURTHER_ROUNDINGS = 16
# What the bounds' own arithmetic may lose.
_SLACK = 1.02


class NativeScreen(ctypes.Structure):
    """`struct Screen` of `screen.h`. The memory that it points to is another's."""

    _fields_ = (
        ("codes", NativeWeights),
        ("errors", ctypes.c_void_p),
        ("most_rows", ctypes.c_int64),
    )


@dataclass(frozen=True)
class HeadScreen:
    """codes: a map of the same size. errors: float32 [out_features], how far one of its outputs can
    be from the dense map's, of the norm of x, before both are rounded. most_rows: of x, that it is
    used for."""

    codes: PackedMap
    errors: Tensor
    most_rows: int

    @property
    def native(self) -> NativeScreen:
        return NativeScreen(self.codes.native_weights, self.errors.data_ptr(), self.most_rows)

    @property
    def weight_bytes(self) -> int:
        """Bytes that one use reads, but for the few rows of the dense map."""
        return self.codes.weight_bytes + self.errors.nbytes


def most_rows(target: Target) -> int:
    """Of x: with more the product with codes is bound by arithmetic, as the dense one is, and each
    row has some panels computed for it. Measured at SmolLM2-135M's head."""
    return 4 if target.multiplies_bfloat16 else 2


def screen_of(head: PackedMap, native: Native) -> HeadScreen | None:
    """For a map of dense weights; None for others, which are as small as a screen would be, for a
    small one, and for a number of inputs that has no codes of this kind."""
    out_features, in_features = head.size
    if head.kind is not Kind.DENSE or head.weight_bytes < LEAST_BYTES:
        return None
    parts = [
        _screened(unpack_dense(panels)[:, :in_features])
        for panels in head.packed.split(_PANELS_AT_A_TIME)
    ]
    codes, scales, errors = (torch.cat(part)[:out_features] for part in zip(*parts, strict=True))
    zeros = torch.full_like(codes[:, :1], MIDDLE_CODE)
    weight = GroupedInt8(codes, scales[:, None], zeros, in_features)
    if not takes(native.target, weight, None, torch.bfloat16):
        return None
    made = NativeW8A16Linear(native)(weight, head.bias, torch.bfloat16)
    return HeadScreen(made, errors, most_rows(native.target))


def _screened(weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Rows of bfloat16 -> codes uint8 about `MIDDLE_CODE`, their scales, and the rows' errors."""
    codes, scales = quantize_rows(weight)
    wide, inputs = weight.float(), weight.shape[1]
    lost = (wide - codes * scales[:, None]).norm(dim=1)
    # The sum over codes counts each with the middle one, whose share it takes off again.
    sizes = wide.norm(dim=1) + 2 * MIDDLE_CODE * inputs**0.5 * scales
    rounded = (inputs + _FURTHER_ROUNDINGS) * _ROUNDING * sizes
    return (codes.int() + MIDDLE_CODE).to(torch.uint8), scales, _SLACK * (lost + rounded)
