"""Weights in e4m3 with their scales, as three formats store them: compressed-tensors'
`float-quantized`, fine-grained FP8 and ModelOpt's FP8. They differ in names and in shapes.

Sources: github.com/vllm-project/compressed-tensors, `compressors/naive_quantized`; DeepSeek-V3's
checkpoints; github.com/NVIDIA/Model-Optimizer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ....kernels.fp8 import LARGEST_E4M3, Fp8Weight
from ....kernels.registry import KernelError
from ..quantized import QuantizedMap
from ..scheme import Scheme
from .layout import FLOATS, Part, in_stored_order, not_negative, number, part, positive

Strategy = Literal["tensor", "channel", "block"]


@dataclass(frozen=True)
class Fp8Layout:
    """`weight` float8_e4m3fn [out, in] and, under the name `scale`, multipliers: one a tensor, one
    a row ([out, 1] or [out]), or one a block, [ceil(out / rows), ceil(in / columns)].

    static: there is an `input_scale`, one number. block: its rows and columns. also: other names of
    the two scales. dtypes: of the multipliers.
    """

    scheme: Scheme
    strategy: Strategy
    static: bool = False
    block: tuple[int, int] = (128, 128)
    scale: str = "weight_scale"
    also: tuple[str, str] = ("", "")
    dtypes: tuple[str, ...] = FLOATS

    def parts(self, out_features: int, in_features: int) -> Mapping[str, Part]:
        rows, columns = self._block(out_features, in_features)
        scales = (-(-out_features // rows), -(-in_features // columns))
        shapes = {
            "tensor": ((), (1,), (1, 1)),
            "channel": ((out_features, 1), (out_features,)),
            "block": (scales,),
        }[self.strategy]
        return {
            "weight": part("F8_E4M3", out_features, in_features),
            self.scale: Part(shapes, self.dtypes, also=self.also[0]),
            # Left behind by some writers where activations are scaled as they come, and not used.
            "input_scale": number(optional=not self.static, also=self.also[1]),
        }

    def read(self, parts: Mapping[str, Tensor], size: tuple[int, int]) -> QuantizedMap:
        out_features, in_features = size
        rows, columns = self._block(out_features, in_features)
        scales = not_negative(self.scale, parts[self.scale].float())
        scales = scales.reshape(-(-out_features // rows), -1).contiguous()
        if not bool(torch.isfinite(LARGEST_E4M3 * scales).all()):
            raise KernelError(f"its {self.scale} makes weights that float32 does not hold")
        given = None
        if self.static:
            given = positive("input_scale", parts["input_scale"].float()).reshape(())
        return QuantizedMap(Fp8Weight(parts["weight"], scales, rows, columns, given))

    def write(self, map_: QuantizedMap) -> dict[str, Tensor]:
        in_stored_order(map_)
        weight = map_.weight
        if not isinstance(weight, Fp8Weight):
            raise KernelError("it is no weight of e4m3")
        blocks = self._block(weight.out_features, weight.in_features)
        if (weight.block_rows, weight.block_columns) != blocks:
            found = f"{weight.block_rows} x {weight.block_columns}"
            raise KernelError(f"it has a scale for {found} weights and not a {self.strategy}")
        if self.static != (weight.input_scale is not None):
            raise KernelError("only static activations have a scale, and these need one")
        scales = weight.scales.flatten() if self.strategy == "tensor" else weight.scales
        parts = {"weight": weight.codes, self.scale: scales}
        if weight.input_scale is not None:
            parts["input_scale"] = weight.input_scale.reshape(1)
        return parts

    def _block(self, out_features: int, in_features: int) -> tuple[int, int]:
        """Rows and columns that share a scale."""
        if self.strategy == "block":
            return self.block[0], min(self.block[1], in_features)
        return (out_features if self.strategy == "tensor" else 1), in_features
