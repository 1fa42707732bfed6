"""compressed-tensors: words by hand, what settings mean, which modules they are about. What its own
library makes of the same is in `test_compressed_tensors_library.py`."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from llmbench.engines.errors import ModelError
from llmbench.engines.quantization.checkpoints.compressed_tensors import (
    WIDE_INPUTS,
    layout_for,
    parse,
    quantization_config,
)
from llmbench.engines.quantization.checkpoints.fields import Fields
from llmbench.engines.quantization.checkpoints.fp4_packed import Mxfp4Layout, Nvfp4Layout
from llmbench.engines.quantization.checkpoints.fp8_scaled import Fp8Layout
from llmbench.engines.quantization.checkpoints.int8_rows import Int8RowsLayout
from llmbench.engines.quantization.checkpoints.layout import KV_CACHE
from llmbench.engines.quantization.checkpoints.pack_quantized import PackQuantizedLayout
from llmbench.engines.quantization.scheme import Scheme
from llmbench.kernels.registry import KernelError

from ..dequantized import dequantized_weight
from .directories import in_order

Q = "model.layers.0.self_attn.q_proj"
DOWN = "model.layers.1.mlp.down_proj"


def test_packed_weights_by_hand() -> None:
    """Two rows of ten codes with a sign, -8 … 7, stored with 8 added: a second word holds two.
    Asymmetric: zero points -1 and 3 of the rows, one word along them."""
    layout = PackQuantizedLayout(Scheme("w4a16", 4, None, symmetric=False))
    words = [[0x76543210, 0x98], [0xFEDCBA98 - 2**32, 0x0F]]
    parts = {
        "weight_packed": torch.tensor(words, dtype=torch.int32),
        "weight_scale": torch.tensor([[0.5], [2.0]]),
        "weight_shape": torch.tensor([2, 10]),
        "weight_zero_point": torch.tensor([[0xB7]], dtype=torch.int32),
    }
    weight = dequantized_weight(layout.read(parts, (2, 10)).weight)
    codes = torch.tensor([[*range(-8, 2)], [*range(8), 7, -8]], dtype=torch.float32)
    assert torch.equal(weight, (codes - torch.tensor([[-1.0], [3.0]])) * torch.tensor([[0.5], [2]]))


def test_packed_weights_of_eight_bits_by_hand() -> None:
    layout = PackQuantizedLayout(Scheme("int8", 8, 2))
    word = 0x80 | 0x00 << 8 | 0xFF << 16 | 0x81 << 24  # 0, -128, 127, 1
    parts = {
        "weight_packed": torch.tensor([[word - 2**32]], dtype=torch.int32),
        "weight_scale": torch.tensor([[1.0, 0.25]]),
        "weight_shape": torch.tensor([1, 4]),
    }
    weight = dequantized_weight(layout.read(parts, (1, 4)).weight)
    assert weight.tolist() == [[0, -128, 127 / 4, 1 / 4]]


def test_groups_that_are_scattered_by_hand() -> None:
    """weight_g_idx: inputs 0 and 3 share a scale, 1 and 2 the other."""
    layout = PackQuantizedLayout(Scheme("w4a16", 4, 2, act_order=True))
    parts = {
        "weight_packed": torch.tensor([[0xCBA9]], dtype=torch.int32),  # 1, 2, 3, 4
        "weight_scale": torch.tensor([[1.0, 10.0]]),
        "weight_shape": torch.tensor([1, 4]),
        "weight_g_idx": torch.tensor([0, 1, 1, 0], dtype=torch.int32),
    }
    read = layout.read(parts, (1, 4))
    assert in_order(read).tolist() == [[1, 20, 30, 4]]
    with pytest.raises(KernelError, match="reordered"):
        layout.write(read)


def test_a_shape_that_is_another_is_refused() -> None:
    layout = PackQuantizedLayout(Scheme("w4a16", 4))
    parts = {
        "weight_packed": torch.zeros(2, 1, dtype=torch.int32),
        "weight_scale": torch.ones(2, 1),
        "weight_shape": torch.tensor([2, 7]),
    }
    with pytest.raises(KernelError, match=r"weight_shape \[2, 7\] is not \[2, 8\]"):
        layout.read(parts, (2, 8))


def test_fp4_by_hand() -> None:
    """Sixteen codes, the even input low; W = code · scale / global, or · 2^(scale - 127)."""
    numbers = [0, 0.5, 1, 1.5, 2, 3, 4, 6]
    signed = torch.tensor([*numbers, *(-one for one in numbers)])
    packed = torch.tensor([[0x10, 0x32, 0x54, 0x76, 0x98, 0xBA, 0xDC, 0xFE]], dtype=torch.uint8)
    parts = {
        "weight_packed": packed,
        "weight_scale": torch.tensor([[1.5]]).to(torch.float8_e4m3fn),
        "weight_global_scale": torch.tensor([4.0]),
    }
    read = Nvfp4Layout(Scheme("nvfp4", 4)).read(parts, (1, 16))
    assert torch.equal(dequantized_weight(read.weight), signed[None] * 1.5 / 4)
    parts = {
        "weight_packed": torch.cat([packed, packed], 1),
        "weight_scale": torch.tensor([[124]], dtype=torch.uint8),
    }
    read = Mxfp4Layout(Scheme("mxfp4", 4)).read(parts, (1, 32))
    assert torch.equal(dequantized_weight(read.weight), torch.cat([signed, signed])[None] / 8)
    parts["weight_scale"] = torch.tensor([[255]], dtype=torch.uint8)
    with pytest.raises(KernelError, match="e8m0 scales hold a NaN"):
        Mxfp4Layout(Scheme("mxfp4", 4)).read(parts, (1, 32))


def setting(kind: str, bits: int, strategy: str, **more: Any) -> dict[str, Any]:
    return {"type": kind, "num_bits": bits, "strategy": strategy, "symmetric": True, **more}


GROUPS: dict[str, tuple[str, dict[str, Any], dict[str, Any] | None, object]] = {
    "W4A16": (
        "pack-quantized",
        setting("int", 4, "group", group_size=32),
        None,
        PackQuantizedLayout(Scheme("w4a16", 4, 32)),
    ),
    "W8A16, a row": (
        "pack-quantized",
        setting("int", 8, "channel"),
        None,
        PackQuantizedLayout(Scheme("int8", 8)),
    ),
    "W4A16, asymmetric, ordered": (
        "pack-quantized",
        setting("int", 4, "group", group_size=32, actorder="group") | {"symmetric": False},
        None,
        PackQuantizedLayout(Scheme("w4a16", 4, 32, symmetric=False, act_order=True)),
    ),
    "W4A16, ordered, as it was once written": (
        "pack-quantized",
        setting("int", 4, "group", group_size=32, actorder=True),
        None,
        PackQuantizedLayout(Scheme("w4a16", 4, 32, act_order=True)),
    ),
    "W4A16, ordered while it was made": (
        "pack-quantized",
        setting("int", 4, "group", group_size=32, actorder="weight"),
        None,
        PackQuantizedLayout(Scheme("w4a16", 4, 32)),
    ),
    "W8A8": (
        "int-quantized",
        setting("int", 8, "channel"),
        setting("int", 8, "token", dynamic=True),
        Int8RowsLayout(Scheme("w8a8", 8)),
    ),
    "FP8, dynamic": (
        "float-quantized",
        setting("float", 8, "channel"),
        setting("float", 8, "token", dynamic=True),
        Fp8Layout(Scheme("fp8", 8), "channel"),
    ),
    "FP8, static": (
        "float-quantized",
        setting("float", 8, "tensor"),
        setting("float", 8, "tensor", dynamic=False),
        Fp8Layout(Scheme("fp8-static", 8), "tensor", static=True),
    ),
    "FP8, blocks": (
        "float-quantized",
        setting("float", 8, "block", block_structure=[64, 128]),
        setting("float", 8, "group", dynamic=True, group_size=128),
        Fp8Layout(Scheme("fp8-block", 8), "block", block=(64, 128)),
    ),
    "NVFP4": (
        "nvfp4-pack-quantized",
        setting("float", 4, "tensor_group", group_size=16),
        None,
        Nvfp4Layout(Scheme("nvfp4", 4)),
    ),
    "MXFP4": (
        "mxfp4-pack-quantized",
        setting("float", 4, "group", group_size=32),
        None,
        Mxfp4Layout(Scheme("mxfp4", 4)),
    ),
}


def group(name: str, *targets: str, **more: Any) -> dict[str, Any]:
    form, weights, inputs, _ = GROUPS[name]
    one = {"targets": [*targets] or ["Linear"], "weights": weights, "input_activations": inputs}
    return {**one, "format": form, **more}


def config(*groups: dict[str, Any], **more: Any) -> Fields:
    named = {f"group_{index}": one for index, one in enumerate(groups)}
    data = {
        "quant_method": "compressed-tensors",
        "format": groups[0]["format"],
        "config_groups": named,
        "ignore": ["lm_head"],
        **more,
    }
    return Fields(data, "quantization_config")


@pytest.mark.parametrize("name", GROUPS)
def test_what_settings_mean(name: str) -> None:
    found = parse(config(group(name)))
    assert found.layout_of(Q) == GROUPS[name][3]
    assert found.layout_of("lm_head") is None
    # The format of the whole stands where a group has none of its own.
    older = group(name)
    form = older.pop("format")
    data = Fields({"config_groups": {"a": older}, "format": form}, "quantization_config")
    assert parse(data).layout_of(Q) == GROUPS[name][3]


@pytest.mark.parametrize("whole", [None, "naive-quantized", "mixed-precision", "fakequant"])
def test_a_groups_own_format_stands_where_the_whole_has_none(whole: str | None) -> None:
    found = parse(config(group("FP8, dynamic"), format=whole, version="0.10.3.dev47+ge463fe6"))
    assert found.layout_of(Q) == GROUPS["FP8, dynamic"][3]


def test_a_module_follows_the_target_that_is_closest_to_it() -> None:
    """A name before a pattern, a pattern before a class; what is ignored, whatever targets it."""
    found = parse(
        config(
            group("W4A16"),
            group("FP8, dynamic", "re:.*self_attn.*"),
            group("W8A8", "model.layers.1.self_attn.o_proj"),
            format="mixed-precision",
            ignore=["lm_head", "re:.*layers.0.*gate_proj", DOWN],
        )
    )
    layouts = {name: one[3] for name, one in GROUPS.items()}
    assert found.layout_of("model.layers.0.mlp.up_proj") == layouts["W4A16"]
    assert found.layout_of(Q) == layouts["FP8, dynamic"]
    assert found.layout_of("model.layers.1.self_attn.o_proj") == layouts["W8A8"]
    assert found.layout_of("model.layers.0.mlp.gate_proj") is None
    assert found.layout_of("model.layers.1.mlp.gate_proj") == layouts["W4A16"]
    assert found.layout_of(DOWN) is None
    assert parse(config(group("W4A16", DOWN))).layout_of(Q) is None


def test_what_is_computed_otherwise_is_said() -> None:
    inputs = setting("float", 4, "tensor_group", dynamic="local", group_size=16)
    found = parse(
        config(
            group("NVFP4", input_activations=inputs), kv_cache_scheme=setting("float", 8, "tensor")
        )
    )
    assert found.notes == (WIDE_INPUTS, KV_CACHE)
    assert parse(config(group("NVFP4"))).notes == ()


SCHEMES = (
    Scheme("gptq", 4, 32),
    Scheme("rtn", 4, 32, symmetric=False),
    Scheme("rtn", 8, None),
    Scheme("int8", 8),
    Scheme("smoothquant", 8),
    Scheme("fp8", 8),
    Scheme("fp8-static", 8),
    Scheme("fp8-block", 8),
    Scheme("nvfp4", 4),
    Scheme("mxfp4", 4),
)


@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
def test_what_is_written_of_a_scheme_is_read_of_it(scheme: Scheme) -> None:
    found = parse(Fields(quantization_config(scheme, [DOWN]), "quantization_config"))
    assert found.layout_of(DOWN) is found.layout_of("lm_head") is None
    layout, written = found.layout_of(Q), layout_for(scheme)[1]
    assert layout is not None
    assert type(layout) is type(written)
    assert layout.parts(256, 128) == written.parts(256, 128)
    assert layout.scheme.form == scheme.form


def changed(name: str, part: str, **changes: Any) -> Fields:
    one = group(name)
    return config({**one, part: {**one[part], **changes}})


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            config(group("W4A16", format="sparse-24")),
            "group_0.format: 'sparse-24' is not supported",
        ),
        (config(group("W4A16"), quantization_status="calibration"), "quantization_status"),
        (config(group("W4A16"), sparsity_config={"format": "sparse-bitmask"}), "sparsity_config"),
        (
            config(group("W4A16"), transform_config={"config_groups": {"R1": {}}}),
            "transform_config",
        ),
        (config(group("W4A16"), ignore=["re:("]), "is no pattern"),
        (config(group("W8A8", input_activations=None)), "input_activations: None are missing"),
        (
            config(group("W4A16", input_activations=setting("int", 8, "token"))),
            "not supported with packed integer",
        ),
        (config(group("W4A16", output_activations={"num_bits": 8})), "output_activations"),
        (changed("W4A16", "weights", num_bits=3), "weights.num_bits: 3 is not supported"),
        (changed("W4A16", "weights", strategy="block"), "weights.strategy: 'block'"),
        (changed("W4A16", "weights", group_size=None), "weights.group_size: missing"),
        (changed("W8A8", "weights", symmetric=False), "weights.symmetric: False"),
        (changed("W8A8", "input_activations", dynamic=False), "input_activations.dynamic: False"),
        (changed("W8A8", "input_activations", symmetric=False), "input_activations.symmetric"),
        (changed("FP8, dynamic", "input_activations", strategy="tensor"), "strategy: 'tensor'"),
        (changed("FP8, blocks", "weights", block_structure=[0, 128]), "is not two numbers"),
        (changed("FP8, blocks", "input_activations", group_size=64), "group_size: 64"),
        (changed("NVFP4", "weights", group_size=32), "weights.group_size: 32"),
        (changed("MXFP4", "weights", type="int"), "weights.type: 'int'"),
        (changed("NVFP4", "weights", strategy="channel"), "weights.strategy: 'channel'"),
        (changed("MXFP4", "weights", strategy="tensor_group"), "strategy: 'tensor_group'"),
        (changed("W8A16, a row", "weights", group_size=32), "weights.group_size: 32"),
        (config(group("W4A16"), format="pack-quantised"), "config.format: 'pack-quantised' is not"),
        (
            config(group("W4A16"), format="int-quantized"),
            "group_0.format: 'pack-quantized' is not what quantization_config.format says, 'int-q",
        ),
        (config(group("W4A16"), version="99.0"), "version: '99.0' is not supported; expected 0.x"),
        (config(group("W4A16"), version="new"), "version: 'new' is not supported"),
    ],
)
def test_settings_that_are_not_known_are_refused(data: Fields, message: str) -> None:
    with pytest.raises(ModelError, match=message) as error:
        parse(data)
    assert "\n" not in str(error.value)
