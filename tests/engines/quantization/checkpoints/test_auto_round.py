"""auto-round's own directories: what their settings mean, by hand, and what the library writes and
loads again, where it is installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from llmbench.engines.errors import ModelError
from llmbench.engines.quantization.checkpoints.auto_round import parse
from llmbench.engines.quantization.checkpoints.awq import AwqLayout
from llmbench.engines.quantization.checkpoints.fields import Fields
from llmbench.engines.quantization.checkpoints.gptq import GptqLayout
from llmbench.engines.quantization.checkpoints.read import read_checkpoint, read_published
from llmbench.engines.quantization.quantized import PackedSource
from llmbench.engines.quantization.scheme import Scheme, quantized_maps
from safetensors.torch import load_file

from ..tiny import tiny_model
from .directories import WEIGHTS, checkpoint, in_order, maps_of
from .library_maps.from_auto_round import CASES, NOT_LOADED, small_llama, weights_read, write

Q, UP, HEAD = "model.layers.1.self_attn.q_proj", "model.layers.1.mlp.up_proj", "lm_head"
BASE = {
    "quant_method": "auto-round",
    "packing_format": "auto_round:auto_gptq",
    "bits": 4,
    "group_size": 32,
    "sym": True,
    "data_type": "int",
    "autoround_version": "0.16.1",
    "block_name_to_quantize": "model.layers",
}


def config(**changes: object) -> Fields:
    return Fields({**BASE, **changes}, "quantization_config")


V1, V2 = "gptq", "gptq_v2"


@pytest.mark.parametrize(
    ("changes", "layout"),
    [
        ({}, GptqLayout(Scheme("gptq", 4, 32), V1)),
        ({"packing_format": None}, GptqLayout(Scheme("gptq", 4, 32), V1)),
        ({"packing_format": "auto_round:gptq", "bits": 8}, GptqLayout(Scheme("gptq", 8, 32), V1)),
        ({"packing_format": "auto_round:gptqmodel"}, GptqLayout(Scheme("gptq", 4, 32), V2)),
        ({"packing_format": "auto_round", "sym": False}, GptqLayout(Scheme("gptq", 4, 32, False))),
        ({"packing_format": "auto_round:auto_awq", "group_size": -1}, AwqLayout(Scheme("awq", 4))),
        ({"packing_format": "auto_round:awq"}, AwqLayout(Scheme("awq", 4, 32))),
        # As versions before 0.5 put it.
        (
            {"packing_format": None, "backend": "auto_round:gptq:exllamav2"},
            GptqLayout(Scheme("gptq", 4, 32), V1),
        ),
        (
            {"packing_format": None, "backend": "auto_round:exllamav2", "sym": False},
            GptqLayout(Scheme("gptq", 4, 32, False)),
        ),
        ({"backend": "auto"}, GptqLayout(Scheme("gptq", 4, 32), V1)),
    ],
    ids=lambda value: " ".join(map(str, value.values())) if isinstance(value, dict) else "",
)
def test_how_weights_are_packed(changes: dict[str, object], layout: GptqLayout | AwqLayout) -> None:
    """Zero points are stored less one by AutoGPTQ's packing, and as they are by auto-round's."""
    if changes.get("sym") is False:
        layout = GptqLayout(layout.scheme, V2)
    found = parse(config(**changes))
    assert found.layout_of(Q) == layout
    assert found.layout_of(HEAD) is None
    assert found.notes == ()


def test_layers_with_settings_of_their_own() -> None:
    extra = {
        UP: {"bits": 8, "group_size": 64, "sym": None, "data_type": "int"},
        r".*k_proj.*": {"bits": 16, "data_type": "float", "act_bits": 16},
        "layers.0.mlp": {"group_size": -1},
        "model.layers.0.mlp.up_proj": {"sym": False},
        "model.layers.0.mlp.gate_proj": {},
        HEAD: {"bits": 8, "group_size": 32, "sym": True},
    }
    found = parse(config(extra_config=extra))
    assert found.layout_of(UP) == GptqLayout(Scheme("gptq", 8, 64))
    assert found.layout_of("model.layers.1.self_attn.k_proj") is None
    assert found.layout_of("model.layers.0.mlp.down_proj") == GptqLayout(Scheme("gptq", 4, None))
    # A name before a pattern; one with nothing to say leaves it to the pattern.
    asymmetric = Scheme("gptq", 4, 32, symmetric=False)
    assert found.layout_of("model.layers.0.mlp.up_proj") == GptqLayout(asymmetric)
    assert found.layout_of("model.layers.0.mlp.gate_proj") == GptqLayout(Scheme("gptq", 4, None))
    assert found.layout_of(HEAD) == GptqLayout(Scheme("gptq", 8, 32))
    assert parse(config(extra_config={".*": {"bits": 8}})).layout_of(HEAD) is None


@pytest.mark.parametrize(
    ("blocks", "layers"),
    [
        (None, (0, 1, 2, 12)),
        ("model.layers", (0, 1, 2, 12)),
        ("model.layers.0, model.layers.2", (0, 2)),
        (["model.layers.0", "model.layers.1"], (0, 1, 12)),  # as it writes of 10, 11 and 12
        ([["model.layers.2"], ["model.layers.12"]], (2, 12)),
    ],
    ids=str,
)
def test_blocks_that_are_quantised(blocks: object, layers: tuple[int, ...]) -> None:
    for name in ("block_name_to_quantize", "to_quant_block_names"):
        found = parse(config(**{"block_name_to_quantize": None, name: blocks}))
        modules = {index: f"model.layers.{index}.mlp.up_proj" for index in (0, 1, 2, 12)}
        assert tuple(i for i, m in modules.items() if found.layout_of(m) is not None) == layers


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bits": 3}, r"quantization_config\.bits: 3 is not supported; expected one of 4, 8"),
        ({"bits": 2}, r"bits: 2 is not supported"),
        ({"packing_format": "auto_round:auto_awq", "bits": 8}, r"bits: 8 .* one of 4$"),
        ({"extra_config": {UP: {"bits": 2}}}, r"extra_config\.model.*up_proj\.bits: 2 is not"),
        ({"extra_config": {UP: 8}}, r"extra_config\.model.*up_proj: 8 is not a mapping"),
        ({"extra_config": {"(": {"bits": 8}}}, r"extra_config: '\(' is no pattern"),
        ({"extra_config": []}, r"extra_config: \[\] is not a mapping"),
        ({"packing_format": "auto_round:fp8_static"}, r"packing_format: 'auto_round:fp8_static'"),
        ({"packing_format": "auto_round:llm_compressor"}, "expected one of 'auto_round:auto_gptq'"),
        ({"packing_format": None, "backend": "auto_round:marlin"}, r"backend: 'auto_round:marlin'"),
        ({"data_type": "mx_fp"}, r"data_type: 'mx_fp' is not supported"),
        ({"act_bits": 8}, r"act_bits: 8 is not supported"),
        ({"group_size": 0}, r"group_size: 0 is neither"),
        ({"sym": "yes"}, r"sym: 'yes' is not true or false"),
        ({"desc_act": True}, r"desc_act: True is not supported"),
        ({"super_bits": 4}, r"super_bits: 4 is not supported"),
        ({"spinquant_config": {"r1": True}}, r"spinquant_config: .* is not supported"),
        ({"block_name_to_quantize": 7}, r"block_name_to_quantize: 7 is neither a text nor"),
    ],
    ids=lambda value: str(next(iter(value.items()))) if isinstance(value, dict) else "",
)
def test_settings_that_are_not_known_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message) as error:
        parse(config(**changes))
    assert "\n" not in str(error.value)


def test_a_directory_by_hand(tmp_path: Path) -> None:
    """One map, of one group of 64: code 12 for every weight, which is 0xCCCCCCCC as a word, and a
    zero point of 8, stored as 7; with scales of 0.5 weights are 2. Every third row has a scale
    below 0, as the library writes of rows whose largest weight is negative, and is computed so."""
    name = "model.layers.0.self_attn.q_proj"
    parts = {
        "qweight": torch.full((8, 64), 0xCCCCCCCC - 2**32, dtype=torch.int32),
        "qzeros": torch.full((1, 8), 0x77777777, dtype=torch.int32),
        "scales": torch.full((1, 64), 0.5).half(),
    }
    parts["scales"][:, ::3] *= -1
    expected = torch.full((64, 64), 2.0)
    expected[::3] = -2.0
    shape = "grouped heads, tied"
    others = {n: {"bits": 16} for n in quantized_maps(tiny_model(shape)[0]) if n != name}
    settings = {**BASE, "quant_method": "intel/auto-round", "group_size": -1}
    out = tmp_path / "auto-round"
    checkpoint(out, {**settings, "extra_config": others}, {name: parts}, shape)
    _, model = read_checkpoint(out)
    found = read_published(out)
    assert found is not None
    assert found.format.name == "auto-round (auto_round:auto_gptq)"
    assert found.scheme == Scheme("gptq", 4)
    assert found.linear_ops() == ("linear", "w4a16_linear")
    assert set(model.maps) == {name}
    assert torch.equal(in_order(model.maps[name]), expected)
    x = torch.randn(5, 64)
    computed = PackedSource(model, torch.float32, torch.device("cpu")).linear([name])(x)
    torch.testing.assert_close(computed, x @ expected.T, rtol=1e-5, atol=1e-4)


@pytest.mark.reference("auto_round")
@pytest.mark.parametrize("name", CASES)
def test_what_the_library_writes_is_read(name: str, tmp_path: Path) -> None:
    """Each map, written again, is what the library wrote, bit for bit, and half a step from what it
    rounded; and which are quantised, and as what, is what it finds when it loads the directory."""
    model = small_llama()
    plain = {n: w.clone() for n, w in model.state_dict().items()}
    out = write(name, model, tmp_path)
    found = read_published(out)
    assert found is not None
    assert found.format.name == f"auto-round (auto_round:{CASES[name][2]})"
    stored = load_file(out / WEIGHTS)
    read = read_checkpoint(out)[1]
    for module, map_ in read.maps.items():
        layout: Any = found.layouts[module]
        for part, tensor in layout.write(map_).items():
            if part != "g_idx":  # of this packing alone, and in order
                assert torch.equal(tensor, stored[f"{module}.{part}"]), f"{module}.{part}"
        # A quarter of a step on average; zero points that are off by one make it a whole step.
        error = (in_order(map_) - plain[f"{module}.weight"].float()).abs().mean()
        # Symmetric groups may be turned around, by a scale below 0.
        assert error < 0.3 * stored[f"{module}.scales"].float().abs().mean()
    if name in NOT_LOADED:
        return
    theirs = weights_read(out)
    assert theirs.keys() == read.maps.keys()
    for module, weight in maps_of(read).items():
        assert torch.equal(theirs[module], weight.half()), module
