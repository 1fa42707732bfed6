"""Round to nearest: the honest baseline, 4 or 8 bits in groups, nothing calibrated."""

from __future__ import annotations

from torch import Tensor

from ...kernels.grouped_int8 import GroupedInt8
from ...kernels.int4 import PackedInt4
from .grid import rtn_pack
from .scheme import Scheme


def round_to_nearest(weight: Tensor, scheme: Scheme) -> PackedInt4 | GroupedInt8:
    """weight [out_features, in_features] of any floating dtype."""
    return rtn_pack(weight, scheme.grid)
