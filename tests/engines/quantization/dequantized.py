"""What a quantised map stands for, whatever its form."""

from __future__ import annotations

from llmbench.engines.quantization.quantized import PackedWeight
from llmbench.kernels.fp4 import Fp4Weight, dequantize_fp4
from llmbench.kernels.fp8 import Fp8Weight, dequantize_fp8
from llmbench.kernels.grouped_int8 import GroupedInt8, dequantize_grouped
from llmbench.kernels.int4 import PackedInt4, dequantize_int4
from torch import Tensor


def dequantized_weight(weight: PackedWeight) -> Tensor:
    """float32 [out_features, in_features], inputs in the order that they are stored in."""
    if isinstance(weight, PackedInt4):
        return dequantize_int4(weight)
    if isinstance(weight, GroupedInt8):
        return dequantize_grouped(weight)
    if isinstance(weight, Fp8Weight):
        return dequantize_fp8(weight)
    if isinstance(weight, Fp4Weight):
        return dequantize_fp4(weight)
    return weight.codes.float() * weight.scales[:, None]
