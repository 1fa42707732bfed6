"""8-bit weights with a scale a row; activations stay as they are.

Rounded to nearest when they are loaded: with 255 steps a row there is little left to calibrate
(Dettmers et al., "LLM.int8()", 2022, whose outliers are those of activations).
"""

from __future__ import annotations

from torch import Tensor

from ...kernels.grouped_int8 import MIDDLE_CODE, GroupedInt8
from ...kernels.w8a8 import quantize_rows
from .scheme import Scheme


def round_to_int8(weight: Tensor, _scheme: Scheme) -> GroupedInt8:
    """weight [out_features, in_features] of any floating dtype."""
    codes, scales = quantize_rows(weight)
    unsigned = codes.short().add_(MIDDLE_CODE).byte()
    zeros = unsigned.new_full((len(weight), 1), MIDDLE_CODE)
    return GroupedInt8(unsigned, scales[:, None], zeros, weight.shape[1])
