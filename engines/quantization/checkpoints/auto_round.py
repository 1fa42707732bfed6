"""auto-round's own checkpoints: weights as GPTQ or AWQ pack them, settings of their own.

Source: github.com/intel/auto-round, `export/export_to_autoround` and `inference/convert_model.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from ...models.config import LAYERS
from ..scheme import Scheme
from .awq import AwqLayout
from .fields import Fields, flat, names_module
from .gptq import GptqLayout
from .layout import Format, Layout

# By `packing_format`: who packs so, and in GPTQ's case whether zero points are stored less one.
_PACKINGS = {
    "auto_round:auto_gptq": "gptq",
    "auto_round:gptq": "gptq",
    "auto_round:gptqmodel": "gptq_v2",
    "auto_round": "gptq_v2",
    "auto_round:auto_awq": "awq",
    "auto_round:awq": "awq",
}
# Kernels that versions before 0.5 named after it, and how the weights lie does not depend on.
_KERNELS = (":exllamav2", ":tritonv2", ":triton")
# Written of a layer that is left as it is.
_WIDE = 16


def parse(data: Fields) -> Format:
    """The format of a `quantization_config` with `quant_method` auto-round. Raises ModelError."""
    name, packing = _packing(data)
    for field in ("rotation_config", "spinquant_config"):
        data.absent(field, "is not supported: layers would rotate their inputs")
    data.one_of("desc_act", False, default=False)
    base = _scheme(data, packing)
    blocks = _blocks(data)
    kept = data.strings("modules_to_not_convert")
    extra = _extra_config(data, packing, base)

    def layout_of(module: str) -> Layout | None:
        if any(names_module(key, module) for key in kept):
            return None
        key = _entry_of(extra, module)
        # Outside of the blocks nothing is quantised but what is named: the output projection.
        if not module.startswith(blocks) and (key is None or module not in key):
            return None
        scheme = base if key is None else extra[key]
        return None if scheme is None else _layout(scheme, packing)

    return Format(f"auto-round ({name})", layout_of)


def _packing(data: Fields) -> tuple[str, str]:
    """`packing_format` and what it is in _PACKINGS. Before 0.5 `backend` said how weights are
    packed and by what they are multiplied; now it says the latter alone."""
    field = "packing_format"
    if data.get(field) is None and str(data.get("backend")).startswith("auto_round"):
        field = "backend"
    name = str(data.get(field) or "auto")
    for kernel in _KERNELS:
        name = name.removesuffix(kernel)
    name = "auto_round:auto_gptq" if name == "auto" else name
    if name not in _PACKINGS:
        known = ", ".join(map(repr, _PACKINGS))
        raise data.wrong(field, f"is not supported; expected one of {known}")
    return name, _PACKINGS[name]


def _scheme(data: Fields, packing: str) -> Scheme:
    """Of the layers that have no settings of their own."""
    method = "awq" if packing == "awq" else "gptq"
    bits = _bits(data, packing)
    return Scheme(method, bits, data.group_size(), symmetric=data.flag("sym", True))


def _own_scheme(data: Fields, packing: str, base: Scheme) -> Scheme | None:
    """Of a layer that has; what it leaves out is as for the others. None: not quantised."""
    if data.integer("bits", base.bits) >= _WIDE:
        return None
    return replace(
        base,
        bits=_bits(data, packing, base.bits),
        group_size=base.group_size if data.get("group_size") is None else data.group_size(),
        symmetric=data.flag("sym", base.symmetric),
    )


def _bits(data: Fields, packing: str, default: int | None = None) -> int:
    data.one_of("data_type", "int", default="int")
    data.one_of("act_bits", 16, 32, default=16)
    data.absent("super_bits", "is not supported: scales would be quantised, too")
    return data.one_of("bits", *((4,) if packing == "awq" else (4, 8)), default=default)


def _layout(scheme: Scheme, packing: str) -> Layout:
    return AwqLayout(scheme) if packing == "awq" else GptqLayout(scheme, packing)


def _blocks(data: Fields) -> tuple[str, ...]:
    """What the names of quantised modules begin with. It may end within a part of a name: of the
    blocks 10 and 11 alone, auto-round writes `model.layers.1`."""
    field = "block_name_to_quantize"
    if data.get(field) is None:
        field = "to_quant_block_names"  # as older versions call it
    value = data.get(field)
    if value is None:
        return (LAYERS,)
    names = value.split(",") if isinstance(value, str) else list(flat(value))
    if not all(isinstance(name, str) for name in names):
        raise data.wrong(field, "is neither a text nor a list of names")
    return tuple(name.strip() for name in names if name.strip())


def _extra_config(data: Fields, packing: str, base: Scheme) -> dict[str, Scheme | None]:
    """Settings of single layers, by their name or a pattern that finds it."""
    entries = data.inner_or_none("extra_config")
    if entries is None:
        return {}
    found = {}
    for name in entries.names:
        entries.pattern(name)
        if entries.get(name) != {}:
            found[name] = _own_scheme(entries.inner(name), packing, base)
    return found


def _entry_of(extra: Mapping[str, Scheme | None], module: str) -> str | None:
    """A name before a pattern, and of patterns the first."""
    if module in extra:
        return module
    return next((key for key in extra if re.search(key, module)), None)
