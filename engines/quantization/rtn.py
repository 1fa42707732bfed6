"""Round to nearest: the honest baseline, 4 or 8 bits in groups, nothing calibrated."""

from __future__ import annotations

from torch import Tensor

from ...kernels.grouped_int8 import GroupedInt8
from ...kernels.int4 import PackedInt4
from .grid import GridFormat, rtn_pack
from .scheme import Scheme


def grid_format(scheme: Scheme) -> GridFormat:
    """The grid that a scheme in groups asks for."""
    return GridFormat(scheme.bits, scheme.group_size, scheme.symmetric)


def round_to_nearest(weight: Tensor, scheme: Scheme) -> PackedInt4 | GroupedInt8:
    """weight [out_features, in_features] of any floating dtype."""
    return rtn_pack(weight, grid_format(scheme))
