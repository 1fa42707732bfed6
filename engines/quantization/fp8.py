"""FP8: e4m3 weights and activations. A scale a row and a token, or for blocks of 128.

Nothing is calibrated: activations are scaled as they come. Sources: compressed-tensors'
`FP8_DYNAMIC`; DeepSeek-V3 Technical Report, 2024, section 3.3 (blocks); Micikevicius et al., "FP8
Formats for Deep Learning", 2022.
"""

from __future__ import annotations

from torch import Tensor

from ...kernels.fp8 import Fp8Weight, quantize_fp8
from .scheme import Scheme

BLOCK = 128


def round_to_fp8(weight: Tensor, scheme: Scheme) -> Fp8Weight:
    """weight [out_features, in_features]. Raises KernelError for one that is not finite."""
    if scheme.method == "fp8-block":
        return quantize_fp8(weight, BLOCK, BLOCK)
    if scheme.method == "fp8-static":
        return quantize_fp8(weight, len(weight))
    return quantize_fp8(weight)
