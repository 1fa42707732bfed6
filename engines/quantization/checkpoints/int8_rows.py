"""compressed-tensors' `int-quantized`: eight bits, a scale a row, activations in eight bits, too.

Source: github.com/vllm-project/compressed-tensors, `compressors/naive_quantized`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from ....kernels.registry import KernelError
from ....kernels.w8a8 import W8A8Weight
from ..quantized import QuantizedMap
from ..scheme import Scheme
from .layout import FLOATS, Part, in_stored_order, part


@dataclass(frozen=True)
class Int8RowsLayout:
    """`weight` int8 [out, in]; `weight_scale` [out, 1], or one number: W = q · scale."""

    scheme: Scheme

    def parts(self, out_features: int, in_features: int) -> Mapping[str, Part]:
        return {
            "weight": part("I8", out_features, in_features),
            "weight_scale": Part(((out_features, 1), (1,), ()), FLOATS),
            "weight_zero_point": Part(((out_features, 1), (1,), ()), ("I8",), optional=True),
        }

    def read(self, parts: Mapping[str, Tensor], size: tuple[int, int]) -> QuantizedMap:
        out_features = size[0]
        zeros = parts.get("weight_zero_point")
        if zeros is not None and bool(zeros.any()):
            raise KernelError("it has zero points, which symmetric weights have not")
        scales = parts["weight_scale"].float().flatten().expand(out_features).contiguous()
        return QuantizedMap(W8A8Weight(parts["weight"], scales))

    def write(self, map_: QuantizedMap) -> dict[str, Tensor]:
        in_stored_order(map_)
        weight = map_.weight
        if not isinstance(weight, W8A8Weight):
            raise KernelError("it is no weight of 8 bits with a scale a row")
        return {"weight": weight.codes, "weight_scale": weight.scales[:, None]}
