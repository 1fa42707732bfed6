"""FP4: e2m1 weights with a scale a block, NVFP4's or MXFP4's; activations stay as they are.

Rounded to nearest when they are loaded. Sources: OCP Microscaling Formats Specification 1.0, 2023;
NVIDIA, TensorRT Model Optimizer.
"""

from __future__ import annotations

from torch import Tensor

from ...kernels.fp4 import BLOCK, Fp4Weight, quantize_mxfp4, quantize_nvfp4
from ...kernels.registry import KernelError
from .scheme import Scheme


def round_to_fp4(weight: Tensor, scheme: Scheme, magnitude: Tensor | None = None) -> Fp4Weight:
    """weight [out_features, in_features]. magnitude: see `quantize_nvfp4`, of NVFP4 alone. Raises
    KernelError where blocks do not divide inputs."""
    block = BLOCK["e4m3" if scheme.method == "nvfp4" else "e8m0"]
    if weight.shape[1] % block:
        raise KernelError(f"{scheme.method} needs inputs in whole blocks of {block}")
    if scheme.method == "nvfp4":
        return quantize_nvfp4(weight, magnitude)
    return quantize_mxfp4(weight)
