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
from .packed import COLUMNS, Kind, NativeWeights, PackedMap, unpack_dense
from .w8a16 import NativeW8A16Linear, takes_groups

# A smaller map stays in a processor's cache, and codes would have to be widened for nothing.
LEAST_BYTES = 8 << 20
_MANY_INPUTS = 4096
# Of the weights, looked at together while a screen is made.
_ELEMENTS_AT_A_TIME = 1 << 22
# A sum of products is off by no more than this of the sum of their sizes, for each of them (Higham,
# "Accuracy and Stability of Numerical Algorithms", 2002, section 3.1), and there are a few more
# operations around it.
_ROUNDING, _FURTHER_ROUNDINGS = 2.0**-24, 16
# What the bounds' own arithmetic may lose.
_SLACK = 1.02


class NativeScreen(ctypes.Structure):
    """`struct Screen` of `screen.h`. The memory that it points to is another's."""

    _fields_ = (
        ("codes", NativeWeights),
        ("errors", ctypes.c_void_p),
        ("largest_norm", ctypes.c_double),
        ("most_rows", ctypes.c_int64),
    )


@dataclass(frozen=True)
class HeadScreen:
    """codes: a map of the same size. errors: float32 [out_features], how far one of its outputs can
    be from the dense map's, of the norm of x, before both are rounded. largest_norm: of the rows of
    the dense map's weights. most_rows: of x, that it is used for."""

    codes: PackedMap
    errors: Tensor
    largest_norm: float
    most_rows: int

    @property
    def native(self) -> NativeScreen:
        return NativeScreen(
            self.codes.native_weights, self.errors.data_ptr(), self.largest_norm, self.most_rows
        )

    @property
    def weight_bytes(self) -> int:
        """Bytes that one use reads, but for the few rows of the dense map."""
        return self.codes.weight_bytes + self.errors.nbytes


def most_rows(target: Target, in_features: int) -> int:
    """Of x, for which a screen pays: with more the product with codes is bound by arithmetic, as
    the dense one is. Measured at SmolLM2-135M's head.

    What is bounded by norms is bounded worse the more inputs there are: how many panels are left of
    random weights, `python -m tests.evidence.screened` prints.
    """
    if in_features > 2 * _MANY_INPUTS:
        return 0
    if in_features > _MANY_INPUTS:
        return 1
    return 4 if target.multiplies_bfloat16 else 2


def screen_of(head: PackedMap, native: Native) -> HeadScreen | None:
    """For a map of dense weights; None for others, which are as small as a screen would be, for a
    small one, and for a number of inputs that has no codes of this kind, or too weak a bound."""
    out_features, in_features = head.size
    rows = most_rows(native.target, in_features)
    has_codes = head.kind is Kind.DENSE and takes_groups(native.target, in_features)
    if not has_codes or not rows or head.weight_bytes < LEAST_BYTES:
        return None
    # Where bfloat16 is multiplied codes count from the middle of their range, else from its end.
    offset = 0.5 if native.target.multiplies_bfloat16 else MIDDLE_CODE
    together = max(1, _ELEMENTS_AT_A_TIME // (COLUMNS * in_features))
    parts = [
        _screened(unpack_dense(panels)[:, :in_features], offset)
        for panels in head.packed.split(together)
    ]
    codes, scales, errors, norms = (
        torch.cat(part)[:out_features] for part in zip(*parts, strict=True)
    )
    zeros = torch.full_like(codes[:, :1], MIDDLE_CODE)
    weight = GroupedInt8(codes, scales[:, None], zeros, in_features)
    made = NativeW8A16Linear(native)(weight, head.bias, torch.bfloat16)
    return HeadScreen(made, errors, float(norms.max()), rows)


def _screened(weight: Tensor, offset: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Rows of bfloat16 -> codes uint8 about `MIDDLE_CODE`, their scales, the rows' errors and norms
    in float64. offset: of what a code counts in a sum, which a sum of x takes off again."""
    codes, scales = quantize_rows(weight)
    # In steps of the codes: there no square is too small for float32, or too large.
    steps = weight.float() / scales[:, None]
    root, wide = weight.shape[1] ** 0.5, scales.double()
    lost, norm = (steps - codes).norm(dim=1), steps.norm(dim=1)
    sizes = 2 * norm + lost + 3 * offset * root
    errors = lost + (weight.shape[1] + _FURTHER_ROUNDINGS) * _ROUNDING * sizes
    shifted = codes.view(torch.uint8).bitwise_xor(MIDDLE_CODE)  # which adds it
    return shifted, scales, (_SLACK * wide * errors).float(), wide * norm
