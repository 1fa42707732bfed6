"""GPTQ's checkpoints, versions 1 and 2, in 4 and 8 bits.

Source: github.com/AutoGPTQ/AutoGPTQ and its successor github.com/ModelCloud/GPTQModel, whose
`checkpoint_format` says how zero points are stored: "gptq" (and where it is absent) less one,
"gptq_v2" as they are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ....kernels.registry import KernelError
from ...models.config import LAYERS
from ..grid import codes_in_groups, pack_groups
from ..quantized import QuantizedMap
from ..scheme import Scheme
from .dynamic import read_rules, ruled
from .fields import Fields, flat
from .layout import FLOATS, Format, Part, float16_scales, part
from .order import group_order
from .words import pack_words, unpack_words, words_for

# What is taken from a zero point before it is stored.
STORED_LESS = {"gptq": 1, "gptq_v2": 0}


@dataclass(frozen=True)
class GptqLayout:
    """`qweight` int32 [in · bits / 32, out], packed along in; `qzeros` int32 [groups,
    out · bits / 32], packed along out; `scales` float16 [groups, out]; `g_idx` int32 [in], the
    group of each input: W[k, n] = scales[g_idx[k], n] · (q - zero).

    A last group may be shorter. checkpoint_format: a key of STORED_LESS. zeros_free: nothing was
    said of symmetry, so that zero points may be any.
    """

    scheme: Scheme
    checkpoint_format: str = "gptq"
    zeros_free: bool = False

    def parts(self, out_features: int, in_features: int) -> Mapping[str, Part]:
        bits, groups = self.scheme.bits, self.scheme.groups(in_features)
        if in_features * bits % 32 or out_features * bits % 32:
            raise KernelError(f"{out_features} x {in_features} weights do not fill 32-bit words")
        return {
            "qweight": part("I32", words_for(in_features, bits), out_features),
            "qzeros": part("I32", groups, words_for(out_features, bits)),
            "scales": part(FLOATS, groups, out_features),
            "g_idx": part(("I32", "I64"), in_features, optional=not self.scheme.act_order),
        }

    def read(self, parts: Mapping[str, Tensor], size: tuple[int, int]) -> QuantizedMap:
        out_features, in_features = size
        bits, groups = self.scheme.bits, self.scheme.groups(in_features)
        group_size = self.scheme.group_size or in_features
        g_idx = parts.get("g_idx")
        order = None if g_idx is None else group_order(g_idx, group_size, groups)
        # In each code by itself: an addition to the word would carry into its neighbour.
        less = STORED_LESS[self.checkpoint_format]
        zeros = (unpack_words(parts["qzeros"], bits, out_features) + less) & (2**bits - 1)
        if self.scheme.symmetric and not self.zeros_free:
            self._check_symmetric(zeros)
        codes = unpack_words(parts["qweight"].T, bits, in_features)
        if order is not None:
            codes = codes.index_select(1, order)
        scales = parts["scales"].T.contiguous()
        weight = pack_groups(codes, scales, zeros.T.contiguous(), bits, group_size)
        return QuantizedMap(weight, order)

    def _check_symmetric(self, zeros: Tensor) -> None:
        """Files of one version have been published under the name of the other: every zero point
        is then one off, and the model says nothing that makes sense."""
        middle, less = 2 ** (self.scheme.bits - 1), STORED_LESS[self.checkpoint_format]
        wrong = zeros[zeros != middle]
        if not len(wrong):
            return
        problem = f"its qzeros hold {int(wrong[0])}, and sym: true has zero points of {middle} only"
        if bool((zeros == (middle + 1 if less else middle - 1)).all()):
            other = next(name for name in STORED_LESS if name != self.checkpoint_format)
            problem += f"; they would be, were checkpoint_format {other!r}"
        raise KernelError(problem)

    def write(self, map_: QuantizedMap) -> dict[str, Tensor]:
        codes, scales, zeros = codes_in_groups(
            map_.weight, self.scheme.bits, self.scheme.group_size
        )
        less = STORED_LESS[self.checkpoint_format]
        if self.scheme.symmetric and not bool((zeros == 2 ** (self.scheme.bits - 1)).all()):
            raise KernelError("it has zero points, which readers of symmetric weights leave out")
        if less and not bool(zeros.all()):
            raise KernelError(
                "it has a zero point of 0, which readers of version 1 disagree on; use gptq_v2"
            )
        bits, in_features = self.scheme.bits, codes.shape[1]
        self.parts(len(codes), in_features)
        groups = torch.arange(in_features, dtype=torch.int32)
        groups //= self.scheme.group_size or in_features
        if map_.order is not None:
            inverse = torch.argsort(map_.order)
            codes, groups = codes[:, inverse], groups[inverse]
        return {
            "qweight": pack_words(codes, bits).T.contiguous(),
            "qzeros": pack_words((zeros.T - less).contiguous(), bits),
            "scales": float16_scales(scales.T.contiguous()),
            "g_idx": groups,
        }


def parse(data: Fields, head: str) -> Format:
    """The format of a `quantization_config` with `quant_method` gptq. head: the output projection's
    module. Raises ModelError."""
    checkpoint_format = data.one_of(
        "checkpoint_format", *STORED_LESS, default=data.get("format") or "gptq"
    )
    data.one_of("pack_dtype", "int32", default="int32")
    data.absent("is_marlin_format", "is not supported; expected AutoGPTQ's own layout")
    layout = _layout(data, checkpoint_format)
    rules = read_rules(data, lambda own: _own_layout(own, layout))
    only = _only(data)
    quantized_head = data.flag("lm_head", False)

    def layout_of(module: str) -> GptqLayout | None:
        if not module.startswith(LAYERS):  # a rule's pattern may match more than is quantised
            return ruled(rules, module, layout) if quantized_head and module == head else None
        named = only is None or any(module.endswith(f".{name}") for name in only)
        return ruled(rules, module, layout if named else None)

    return Format(f"GPTQ ({checkpoint_format})", layout_of)


def _layout(data: Fields, checkpoint_format: str) -> GptqLayout:
    scheme = Scheme(
        "gptq",
        data.one_of("bits", 4, 8),
        data.group_size(),
        symmetric=data.flag("sym", True),
        act_order=data.flag("desc_act", False),
    )
    return GptqLayout(scheme, checkpoint_format, zeros_free=data.get("sym") is None)


def _own_layout(own: Fields, layout: GptqLayout) -> GptqLayout:
    """Of modules that have settings of their own; what a rule leaves out is as for the others."""
    scheme = layout.scheme
    size = scheme.group_size if own.get("group_size") is None else own.group_size()
    changed = replace(
        scheme,
        bits=own.one_of("bits", 4, 8, default=scheme.bits),
        group_size=size,
        symmetric=own.flag("sym", scheme.symmetric),
        act_order=own.flag("desc_act", scheme.act_order),
    )
    return replace(layout, scheme=changed, zeros_free=layout.zeros_free and own.get("sym") is None)


def _only(data: Fields) -> list[str] | None:
    """Names of the modules of a layer that are quantised; None: all of its linear maps."""
    value = data.get("modules_in_block_to_quantize")
    if value is None:
        return None
    names = list(flat(value))
    if not isinstance(value, list) or not all(isinstance(one, str) for one in names):
        raise data.wrong("modules_in_block_to_quantize", "is not a list of lists of names")
    return names


def quantization_config(
    scheme: Scheme, checkpoint_format: str, kept: list[str], reordered: bool, writer: str
) -> dict[str, Any]:
    """What GPTQModel's `QuantizeConfig.to_dict` gives, less its own settings.

    kept: modules of layers that are not quantised. reordered: whether a map's `g_idx` is anything
    but in order; where it is not, readers need not gather. writer: `name:version`.
    """
    config = {
        "quant_method": "gptq",
        "bits": scheme.bits,
        "group_size": scheme.group_size or -1,
        "desc_act": reordered,
        "sym": scheme.symmetric,
        "lm_head": False,
        "checkpoint_format": checkpoint_format,
        "pack_dtype": "int32",
        "meta": {"quantizer": [writer]},
    }
    if kept:
        config["dynamic"] = {f"-:^{re.escape(name)}$": {} for name in kept}
    return config
