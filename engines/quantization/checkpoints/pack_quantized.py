"""compressed-tensors' `pack-quantized`: integer weights of four or eight bits, nothing else.

Source: github.com/vllm-project/compressed-tensors, `compressors/pack_quantized`. Codes have a sign
there, from -2^(b-1), and are stored with 2^(b-1) added, as our forms have them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ....kernels.registry import KernelError
from ..grid import codes_in_groups, pack_groups
from ..quantized import QuantizedMap
from ..scheme import Scheme
from .layout import FLOATS, Part, in_stored_order, part
from .order import group_order
from .words import pack_words, unpack_words, words_for


@dataclass(frozen=True)
class PackQuantizedLayout:
    """`weight_packed` int32 [out, in · bits / 32], `weight_scale` [out, groups], `weight_shape`
    [out, in]; of asymmetric weights `weight_zero_point` int32 [out · bits / 32, groups].

    `weight_g_idx` int32 [in], of schemes whose act_order scatters groups: the group of each input.
    """

    scheme: Scheme

    def parts(self, out_features: int, in_features: int) -> Mapping[str, Part]:
        bits, groups = self.scheme.bits, self.scheme.groups(in_features)
        parts = {
            "weight_packed": part("I32", out_features, words_for(in_features, bits)),
            "weight_scale": part(FLOATS, out_features, groups),
            "weight_shape": part(("I64", "I32"), 2),
        }
        if not self.scheme.symmetric:
            parts["weight_zero_point"] = part("I32", words_for(out_features, bits), groups)
        if self.scheme.act_order:
            parts["weight_g_idx"] = part(("I32", "I64"), in_features)
        return parts

    def read(self, parts: Mapping[str, Tensor], size: tuple[int, int]) -> QuantizedMap:
        out_features, in_features = size
        if parts["weight_shape"].tolist() != [out_features, in_features]:
            raise KernelError(
                f"its weight_shape {parts['weight_shape'].tolist()} is not "
                f"{[out_features, in_features]}, which its config.json asks for"
            )
        bits, group_size = self.scheme.bits, self.scheme.group_size or in_features
        codes = unpack_words(parts["weight_packed"], bits, in_features)
        scales = parts["weight_scale"]
        if self.scheme.symmetric:
            zeros = torch.full_like(scales, 2 ** (bits - 1), dtype=torch.uint8)
        else:
            zeros = unpack_words(parts["weight_zero_point"].T, bits, out_features).T.contiguous()
        order = None
        if self.scheme.act_order:
            order = group_order(parts["weight_g_idx"], group_size, self.scheme.groups(in_features))
            codes = codes if order is None else codes.index_select(1, order)
        return QuantizedMap(pack_groups(codes, scales, zeros, bits, group_size), order)

    def write(self, map_: QuantizedMap) -> dict[str, Tensor]:
        in_stored_order(map_)  # compressed-tensors itself has not read another since 0.20
        bits, size = self.scheme.bits, self.scheme.group_size
        codes, scales, zeros = codes_in_groups(map_.weight, bits, size)
        out_features, in_features = codes.shape
        if size and in_features % size:
            raise KernelError(f"groups of {size} do not divide {in_features} inputs")
        parts = {
            "weight_packed": pack_words(codes, bits),
            "weight_scale": scales,
            "weight_shape": torch.tensor([out_features, in_features]),
        }
        if not self.scheme.symmetric:
            parts["weight_zero_point"] = pack_words(zeros.T, bits).T.contiguous()
        elif not bool((zeros == 2 ** (bits - 1)).all()):
            raise KernelError("it has zero points, which symmetric weights have not")
        return parts
