"""Weights in e2m1 with their scales, as compressed-tensors and ModelOpt store them.

Sources: github.com/vllm-project/compressed-tensors, `compressors/nvfp4` and `compressors/mxfp4`;
github.com/NVIDIA/Model-Optimizer. All pack two codes a byte, the even input low, as `Fp4Weight`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ....kernels.fp4 import BLOCK, Fp4Weight, ScaleFormat
from ....kernels.fp8 import E4M3
from ....kernels.registry import KernelError
from ..quantized import QuantizedMap
from ..scheme import Scheme
from .layout import Part, in_stored_order, not_negative, number, part, positive

# Of e2m1; and the scale of e8m0 with which it stays within float32, 6 · 2^(252 - 127).
_LARGEST = 6.0
_LARGEST_E8M0 = 252
_NAN_E8M0 = 255  # which `Fp4Weight` refuses


@dataclass(frozen=True)
class Nvfp4Layout:
    """Codes uint8 [out, in / 2], `weight_scale` e4m3 [out, in / 16] and a float32 factor of the
    tensor. packed, factor: their names. divides: the factor is 448 · 6 / amax, and W = code · scale
    / factor; otherwise its reciprocal, and W = code · scale · factor.
    """

    scheme: Scheme
    packed: str = "weight_packed"
    factor: str = "weight_global_scale"
    divides: bool = True
    # Of the activations: the weights alone are computed in four bits.
    input_factor: str = "input_global_scale"

    def parts(self, out_features: int, in_features: int) -> Mapping[str, Part]:
        groups = _groups("e4m3", in_features)
        return {
            self.packed: part("U8", out_features, in_features // 2),
            "weight_scale": part("F8_E4M3", out_features, groups),
            self.factor: number(),
            self.input_factor: number(optional=True),
        }

    def read(self, parts: Mapping[str, Tensor], size: tuple[int, int]) -> QuantizedMap:
        out_features = size[0]
        factor = positive(self.factor, parts[self.factor].float()).reshape(1)
        multiplier = 1 / factor if self.divides else factor
        # A NaN among them is refused by `Fp4Weight`.
        largest = not_negative("weight_scale", parts["weight_scale"].float()).max()
        if bool(torch.isinf(multiplier)) or bool(torch.isinf(_LARGEST * largest * multiplier)):
            raise KernelError(
                f"its {self.factor} {float(factor):g} makes weights that float32 does not hold"
            )
        rows = multiplier.expand(out_features).contiguous()
        scales = parts["weight_scale"].view(torch.uint8)
        return QuantizedMap(Fp4Weight(parts[self.packed], scales, rows, "e4m3"))

    def write(self, map_: QuantizedMap) -> dict[str, Tensor]:
        weight = _fp4(map_, "e4m3")
        factor = weight.row_scales[:1]
        if not bool((weight.row_scales == factor).all()):
            raise KernelError("its rows do not share a factor, and the format has one a tensor")
        return {
            self.packed: weight.nibbles,
            "weight_scale": weight.scales.view(E4M3),
            self.factor: 1 / factor if self.divides else factor.clone(),
        }


@dataclass(frozen=True)
class Mxfp4Layout:
    """`weight_packed` uint8 [out, in / 2], `weight_scale` uint8 [out, in / 32], e8m0:
    W = code · 2^(scale - 127)."""

    scheme: Scheme

    def parts(self, out_features: int, in_features: int) -> Mapping[str, Part]:
        groups = _groups("e8m0", in_features)
        return {
            "weight_packed": part("U8", out_features, in_features // 2),
            "weight_scale": part("U8", out_features, groups),
        }

    def read(self, parts: Mapping[str, Tensor], size: tuple[int, int]) -> QuantizedMap:
        out_features = size[0]
        largest = int(parts["weight_scale"].max())
        if _LARGEST_E8M0 < largest < _NAN_E8M0:
            raise KernelError(
                f"its weight_scale holds {largest}: 2^{largest - 127}, of weights that float32 "
                "does not hold"
            )
        ones = torch.ones(out_features)
        return QuantizedMap(Fp4Weight(parts["weight_packed"], parts["weight_scale"], ones, "e8m0"))

    def write(self, map_: QuantizedMap) -> dict[str, Tensor]:
        weight = _fp4(map_, "e8m0")
        if not bool((weight.row_scales == 1).all()):
            raise KernelError("its rows have factors, and the format has none")
        return {"weight_packed": weight.nibbles, "weight_scale": weight.scales}


def _groups(scale_format: ScaleFormat, in_features: int) -> int:
    block = BLOCK[scale_format]
    if in_features % block:
        raise KernelError(f"blocks of {block} do not divide {in_features} inputs")
    return in_features // block


def _fp4(map_: QuantizedMap, scale_format: ScaleFormat) -> Fp4Weight:
    in_stored_order(map_)
    weight = map_.weight
    if not isinstance(weight, Fp4Weight) or weight.scale_format != scale_format:
        raise KernelError(f"it is no weight of e2m1 with {scale_format} scales")
    return weight
