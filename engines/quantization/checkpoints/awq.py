"""AWQ's "gemm" checkpoints, 4 bits.

Source: the AWQ reference implementation (github.com/mit-han-lab/llm-awq) and the checkpoints that
AutoAWQ publishes. All along out_features, eight to an int32: nibble i of word c holds column
8c + NIBBLE_COLUMN[i].
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ....kernels.registry import KernelError
from ...models.config import LAYERS
from ..grid import codes_in_groups, pack_groups
from ..quantized import QuantizedMap
from ..scheme import Scheme
from .dynamic import read_rules, ruled
from .fields import Fields
from .layout import FLOATS, Format, Part, float16_scales, in_stored_order, part
from .words import pack_words, unpack_words

NIBBLE_COLUMN = (0, 2, 4, 6, 1, 3, 5, 7)
_MIDDLE = 8


@dataclass(frozen=True)
class AwqLayout:
    """`qweight` int32 [in, out / 8], `qzeros` int32 [in / group, out / 8], `scales` float16
    [in / group, out]: W[k, n] = (q - zero) · scale."""

    scheme: Scheme

    def parts(self, out_features: int, in_features: int) -> Mapping[str, Part]:
        size = self.scheme.group_size or in_features
        if in_features % size:
            raise KernelError(f"groups of {size} do not divide {in_features} inputs")
        if out_features % 8:
            raise KernelError(f"{out_features} outputs are not a multiple of 8")
        return {
            "qweight": part("I32", in_features, out_features // 8),
            "qzeros": part("I32", in_features // size, out_features // 8),
            "scales": part(FLOATS, in_features // size, out_features),
        }

    def read(self, parts: Mapping[str, Tensor], size: tuple[int, int]) -> QuantizedMap:
        in_features = size[1]
        codes, zeros = _unpack(parts["qweight"]).T, _unpack(parts["qzeros"]).T.contiguous()
        if self.scheme.symmetric and bool((zeros != _MIDDLE).any()):
            found = int(zeros[zeros != _MIDDLE][0])
            problem = f"and without zero points in its config all are {_MIDDLE}"
            raise KernelError(f"its qzeros hold {found}, {problem}")
        scales, group_size = parts["scales"].T.contiguous(), self.scheme.group_size or in_features
        return QuantizedMap(pack_groups(codes, scales, zeros, 4, group_size))

    def write(self, map_: QuantizedMap) -> dict[str, Tensor]:
        in_stored_order(map_)
        codes, scales, zeros = codes_in_groups(map_.weight, 4, self.scheme.group_size)
        self.parts(*codes.shape)
        return {
            "qweight": _pack(codes.T),
            "qzeros": _pack(zeros.T),
            "scales": float16_scales(scales.T.contiguous()),
        }


def _pack(codes: Tensor) -> Tensor:
    """uint8 [rows, columns] -> int32 [rows, columns / 8]."""
    return pack_words(codes.unflatten(1, (-1, 8))[..., list(NIBBLE_COLUMN)].flatten(1), 4)


def _unpack(words: Tensor) -> Tensor:
    """int32 [rows, columns / 8] -> uint8 [rows, columns]."""
    nibbles = unpack_words(words, 4, 8 * words.shape[1]).unflatten(1, (-1, 8))
    columns = torch.empty_like(nibbles)
    columns[..., list(NIBBLE_COLUMN)] = nibbles
    return columns.flatten(1)


def parse(data: Fields, head: str) -> Format:
    """The format of a `quantization_config` with `quant_method` awq. head: the output projection's
    module. Raises ModelError."""
    data.one_of("bits", 4)
    if str(data.get("version") or "gemm").lower() != "gemm":
        raise data.wrong("version", "is not supported; expected 'gemm'")
    symmetric = not data.flag("zero_point", True)
    layout = AwqLayout(Scheme("awq", 4, data.group_size(), symmetric))
    rules = read_rules(data, lambda own: _own_layout(own, layout.scheme))
    kept = data.strings("modules_to_not_convert")
    quantized_head = data.flag("lm_head", False)

    def layout_of(module: str) -> AwqLayout | None:
        quantized = module.startswith(LAYERS) or (quantized_head and module == head)
        # Any part of a name, as AutoAWQ, vLLM and SGLang take them: `mlp.gate` is `mlp.gate_proj`.
        if not quantized or any(key in module for key in kept):
            return None
        return ruled(rules, module, layout)

    return Format("AWQ (gemm)", layout_of)


def _own_layout(own: Fields, scheme: Scheme) -> AwqLayout:
    """Of modules for which GPTQModel has settings of their own. Zero points are stored in any case:
    where a rule speaks of symmetry they are taken as they are."""
    own.one_of("bits", 4, default=4)
    size = scheme.group_size if own.get("group_size") is None else own.group_size()
    return AwqLayout(Scheme("awq", 4, size, scheme.symmetric and own.get("sym") is None))


def quantization_config(scheme: Scheme, kept: list[str]) -> dict[str, Any]:
    """As AutoAWQ writes it. kept: modules of layers that are not quantised. Zero points are always
    there, if only the middle code."""
    return {
        "quant_method": "awq",
        "bits": 4,
        "group_size": scheme.group_size or -1,
        "zero_point": True,
        "version": "gemm",
        "modules_to_not_convert": ["lm_head", *kept],
    }
