"""compressed-tensors' config: groups of modules, each with settings for its weights and inputs.

Source: github.com/vllm-project/compressed-tensors, `quantization/quant_config.py`. What a group's
maps look like on disk is in the files of their layouts.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from ...errors import ModelError
from ..scheme import Scheme
from .fields import Fields
from .fine_grained_fp8 import block_of
from .fp4_packed import Mxfp4Layout, Nvfp4Layout
from .fp8_scaled import Fp8Layout, Strategy
from .int8_rows import Int8RowsLayout
from .layout import KV_CACHE, Format, Layout, Writable
from .pack_quantized import PackQuantizedLayout

VERSION = "0.20.0"  # of the library whose files are written
FORMATS = (
    "pack-quantized",
    "int-quantized",
    "float-quantized",
    "nvfp4-pack-quantized",
    "mxfp4-pack-quantized",
)
# Each format's `naive-quantized` twin differs in name only.
_NAIVE = "naive-quantized"
# What the whole is said to be where its groups differ, or where nobody said.
_NO_ONE_FORMAT = ("mixed-precision", "dense", "fakequant")
WIDE_INPUTS = "its activations would be rounded to 4 bits, too; here they are not"


def parse(data: Fields) -> Format:
    """The format of a `quantization_config`. Raises ModelError for settings that are not known."""
    data.one_of("quantization_status", "compressed", "frozen", default="compressed")
    for name, inner, nothing in (
        ("sparsity_config", "format", "dense"),
        ("transform_config", "config_groups", {}),
    ):
        found = data.inner_or_none(name)
        if found is not None and found.get(inner) not in (None, nothing):
            raise data.wrong(name, "is not supported")
    _check_version(data)
    groups = data.inner("config_groups")
    ignored = _targets(data, "ignore")
    targets: dict[str, Layout] = {}
    notes: dict[str, None] = {}
    names: dict[str, None] = {}
    for group in groups.names:
        fields = groups.inner(group)
        form = _form(fields, data)
        layout = _layout(fields, form)
        names[str(form)] = None
        targets |= dict.fromkeys(_targets(fields, "targets"), layout)
        if layout.scheme.bits == 4 and fields.get("input_activations"):
            notes[WIDE_INPUTS] = None
    if data.get("kv_cache_scheme"):
        notes[KV_CACHE] = None

    def layout_of(module: str) -> Layout | None:
        if any(_matches(target, module) for target in ignored):
            return None
        # A name before a pattern, a pattern before a class, as the library decides.
        for target in sorted(targets, key=_generality):
            if _matches(target, module):
                return targets[target]
        return None

    return Format(f"compressed-tensors ({', '.join(names)})", layout_of, tuple(notes))


def _check_version(data: Fields) -> None:
    """Of the library that wrote it. What a first whole number would change, nobody knows yet."""
    version = data.get("version")
    if version is not None and not re.match(r"0\.\d", str(version)):
        raise data.wrong("version", f"is not supported; expected 0.x, as {VERSION!r}")


def _form(group: Fields, data: Fields) -> object:
    """A group's own format, or that of the whole: two that differ leave open how weights lie."""
    own, whole = group.get("format"), data.get("format")
    if own is None or own == whole or own not in (*FORMATS, _NAIVE):
        return whole if own is None else own
    if whole is not None and whole not in (*FORMATS, _NAIVE, *_NO_ONE_FORMAT):
        known = ", ".join(map(repr, (*FORMATS, _NO_ONE_FORMAT[0])))
        raise data.wrong("format", f"is not supported; expected one of {known}")
    if whole in FORMATS and own != _NAIVE:
        raise group.wrong("format", f"is not what {data.place}.format says, {whole!r}")
    return own


def _targets(data: Fields, name: str) -> Sequence[str]:
    found = data.strings(name)
    for target in found:
        if target.startswith("re:"):
            data.pattern(target.removeprefix("re:"), name)
    return found


def _generality(target: str) -> tuple[int, str]:
    return (2 if target == "Linear" else int(target.startswith("re:"))), target


def _matches(target: str, module: str) -> bool:
    """Every module that is asked about is a Linear."""
    if target.startswith("re:"):
        return re.match(target.removeprefix("re:"), module) is not None
    return target in (module, "Linear")


def _layout(group: Fields, form: object) -> Layout:
    group.absent("output_activations", "are not supported")
    if form not in (*FORMATS, _NAIVE):
        known = ", ".join(map(repr, FORMATS))
        raise ModelError(
            f"{group.place}.format", form, f"is not supported; expected one of {known}"
        )
    weights = group.inner("weights")
    inputs = group.inner_or_none("input_activations")
    weights.one_of("dynamic", False, default=False)
    kind = weights.one_of("type", "int", "float", default="int")
    if form in ("nvfp4-pack-quantized", "mxfp4-pack-quantized"):
        return _fp4(weights, str(form))
    if form == "pack-quantized":
        if inputs is not None:
            raise group.wrong("input_activations", "are not supported with packed integer weights")
        return PackQuantizedLayout(_integers(weights))
    if inputs is None:
        raise group.wrong("input_activations", "are missing; 8-bit weights alone are not supported")
    if form == "int-quantized" or (form == _NAIVE and kind == "int"):
        return _int8(weights, inputs)
    return _fp8(weights, inputs)


def _integers(weights: Fields) -> Scheme:
    weights.one_of("type", "int", default="int")
    bits = weights.one_of("num_bits", 4, 8)
    strategy = weights.one_of("strategy", "group", "channel", default="group")
    if strategy == "channel":
        weights.one_of("group_size", None, -1)
    group_size = weights.group_size() if strategy == "group" else None
    order = weights.one_of(
        "actorder", None, False, True, "group", "dynamic", "weight", "static", default=None
    )
    return Scheme(
        "w4a16" if bits == 4 else "int8",
        bits,
        group_size,
        symmetric=weights.flag("symmetric", True),
        # Only this kind scatters the members of a group.
        act_order=order in (True, "group", "dynamic"),
    )


def _int8(weights: Fields, inputs: Fields) -> Layout:
    weights.one_of("type", "int", default="int")
    weights.one_of("num_bits", 8)
    weights.one_of("symmetric", True, default=True)
    weights.one_of("strategy", "channel", "tensor", default="channel")
    inputs.one_of("type", "int", default="int")
    inputs.one_of("num_bits", 8)
    inputs.one_of("symmetric", True, default=True)
    inputs.one_of("dynamic", True)
    inputs.one_of("strategy", "token")
    return Int8RowsLayout(Scheme("w8a8", 8))


def _fp8(weights: Fields, inputs: Fields) -> Layout:
    for part in (weights, inputs):
        part.one_of("type", "float")
        part.one_of("num_bits", 8)
        part.one_of("symmetric", True, default=True)
    strategy = weights.one_of("strategy", "tensor", "channel", "block")
    static = not inputs.flag("dynamic", False)
    if strategy == "block":
        block = block_of(weights, "block_structure")
        inputs.one_of("dynamic", True)
        inputs.one_of("strategy", "group")
        inputs.one_of("group_size", block[1])
        return Fp8Layout(Scheme("fp8-block", 8), strategy, block=block)
    inputs.one_of("strategy", "tensor" if static else "token")
    return Fp8Layout(Scheme("fp8-static" if static else "fp8", 8), strategy, static)


def _fp4(weights: Fields, form: str) -> Layout:
    weights.one_of("type", "float")
    weights.one_of("num_bits", 4)
    weights.one_of("symmetric", True, default=True)
    if form == "nvfp4-pack-quantized":
        weights.one_of("group_size", 16)
        weights.one_of("strategy", "tensor_group", default="tensor_group")
        return Nvfp4Layout(Scheme("nvfp4", 4))
    weights.one_of("group_size", 32)
    weights.one_of("strategy", "group", default="group")
    return Mxfp4Layout(Scheme("mxfp4", 4))


_FP8_STRATEGY: dict[str, Strategy] = {"fp8-static": "tensor", "fp8-block": "block"}


def layout_for(scheme: Scheme) -> tuple[str, Writable]:
    """The format that a scheme's maps are written in, and their layout."""
    form = scheme.form
    if form in ("int4", "int8"):
        return "pack-quantized", PackQuantizedLayout(_without_order(scheme))
    if form == "w8a8":
        return "int-quantized", Int8RowsLayout(scheme)
    if form == "fp8":
        strategy = _FP8_STRATEGY.get(scheme.method, "channel")
        static = scheme.method == "fp8-static"
        return "float-quantized", Fp8Layout(scheme, strategy, static)
    if scheme.method == "nvfp4":
        return "nvfp4-pack-quantized", Nvfp4Layout(scheme)
    return "mxfp4-pack-quantized", Mxfp4Layout(scheme)


def _without_order(scheme: Scheme) -> Scheme:
    return Scheme(scheme.method, scheme.bits, scheme.group_size, scheme.symmetric)


def quantization_config(scheme: Scheme, kept: Sequence[str]) -> dict[str, Any]:
    """As `ModelCompressor.update_config` writes it. kept: modules that are not quantised."""
    form, _ = layout_for(scheme)
    weights, inputs = _arguments(scheme, form)
    group = {
        "targets": ["Linear"],
        "weights": weights,
        "input_activations": inputs,
        "output_activations": None,
        "format": form,
    }
    return {
        "quant_method": "compressed-tensors",
        "version": VERSION,
        "format": form,
        "quantization_status": "compressed",
        "config_groups": {"group_0": group},
        "ignore": ["lm_head", *kept],
        "kv_cache_scheme": None,
        "global_compression_ratio": None,
        "sparsity_config": {},
        "transform_config": {},
    }


def _arguments(scheme: Scheme, form: str) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Settings of the weights and of their inputs, the latter None where they stay as they are."""
    size = scheme.group_size
    if form == "pack-quantized":
        strategy = "channel" if size is None else "group"
        weights = _setting("int", scheme.bits, strategy, size, symmetric=scheme.symmetric)
        return weights, None
    if form == "int-quantized":
        inputs = _setting("int", 8, "token", dynamic=True)
        return _setting("int", 8, "channel"), inputs
    if form == "nvfp4-pack-quantized":
        dtype = "torch.float8_e4m3fn"
        return {**_setting("float", 4, "tensor_group", 16), "scale_dtype": dtype}, None
    if form == "mxfp4-pack-quantized":
        return {**_setting("float", 4, "group", 32), "scale_dtype": "torch.uint8"}, None
    if scheme.method == "fp8-static":
        return _setting("float", 8, "tensor"), _setting("float", 8, "tensor")
    if scheme.method == "fp8-block":
        inputs = _setting("float", 8, "group", 128, dynamic=True)
        return {**_setting("float", 8, "block"), "block_structure": [128, 128]}, inputs
    return _setting("float", 8, "channel"), _setting("float", 8, "token", dynamic=True)


def _setting(
    kind: str,
    bits: int,
    strategy: str,
    group_size: int | None = None,
    *,
    symmetric: bool = True,
    dynamic: bool = False,
) -> dict[str, Any]:
    return {
        "num_bits": bits,
        "type": kind,
        "symmetric": symmetric,
        "strategy": strategy,
        "group_size": group_size,
        "dynamic": dynamic,
    }
