"""8-bit weights and activations: a scale for each output row, and at run time one for each token.

Rounded to nearest when they are loaded: SmoothQuant without its smoothing (Xiao et al., 2023,
section 3), which `smoothquant.py` adds.
"""

from __future__ import annotations

from torch import Tensor

from ...kernels.w8a8 import W8A8Weight, quantize_rows
from .scheme import Scheme


def round_to_w8a8(weight: Tensor, _scheme: Scheme) -> W8A8Weight:
    """weight [out_features, in_features] of any floating dtype."""
    return W8A8Weight(*quantize_rows(weight))
