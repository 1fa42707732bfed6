from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from llmbench.engines.errors import ModelError
from llmbench.engines.quantization.awq_checkpoint import load_awq, save_awq
from llmbench.engines.quantization.quantize import quantize_model
from llmbench.engines.quantization.quantized import QuantizedModel
from llmbench.engines.quantization.scheme import default_scheme
from safetensors import safe_open

from .dequantized import dequantized_weight
from .tiny import tiny_json, tiny_model, tokens


@pytest.fixture(scope="module")
def quantized() -> QuantizedModel:
    config, weights = tiny_model("qwen2")
    return quantize_model(config, weights, default_scheme(config, "awq", 32), tokens())


def test_what_is_saved_is_loaded(quantized: QuantizedModel, tmp_path: Path) -> None:
    save_awq(quantized, tmp_path, tiny_json("qwen2"))
    loaded = load_awq(tmp_path)
    assert loaded.scheme == quantized.scheme
    assert loaded.report == quantized.report
    assert loaded.maps.keys() == quantized.maps.keys()
    for name, map_ in quantized.maps.items():
        assert torch.equal(
            dequantized_weight(loaded.maps[name].weight), dequantized_weight(map_.weight)
        )
    assert loaded.dense.keys() == quantized.dense.keys()
    for name, tensor in quantized.dense.items():
        assert torch.equal(loaded.dense[name], tensor)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "awq_report.json",
        "config.json",
        "model.safetensors",
    ]


def test_the_directory_is_the_published_format(quantized: QuantizedModel, tmp_path: Path) -> None:
    """Names, shapes and dtypes of an AutoAWQ "gemm" checkpoint: gate is 64 in, 96 out."""
    save_awq(quantized, tmp_path, tiny_json("qwen2"))
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["hidden_size"] == 64
    expected = {
        "quant_method": "awq",
        "bits": 4,
        "group_size": 32,
        "zero_point": True,
        "version": "gemm",
        "modules_to_not_convert": ["lm_head"],
    }
    assert config["quantization_config"] == expected
    with safe_open(tmp_path / "model.safetensors", framework="pt") as file:
        names = set(file.keys())
        gate = "model.layers.0.mlp.gate_proj"
        stored = {
            part: (file.get_slice(f"{gate}.{part}").get_dtype(), file.get_tensor(f"{gate}.{part}"))
            for part in ("qweight", "qzeros", "scales")
        }
    assert {part: (dtype, list(t.shape)) for part, (dtype, t) in stored.items()} == {
        "qweight": ("I32", [64, 12]),
        "qzeros": ("I32", [2, 12]),
        "scales": ("F16", [2, 96]),
    }
    assert f"{gate}.weight" not in names
    assert {"lm_head.weight", "model.layers.0.self_attn.q_proj.bias"} <= names


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"quant_method": "gptq"}, "quant_method: 'gptq' is not 'awq'"),
        ({"bits": 3}, "bits: 3 is not 4"),
        ({"version": "gemv"}, "version: 'gemv' is not 'gemm'"),
        ({"group_size": 64}, "group_size: 64 of config.json is 32"),
        ({"group_size": None}, "group_size: None is not a number"),
    ],
)
def test_another_format_is_refused(
    change: dict[str, object], message: str, quantized: QuantizedModel, tmp_path: Path
) -> None:
    save_awq(quantized, tmp_path, tiny_json("qwen2"))
    path = tmp_path / "config.json"
    config = json.loads(path.read_text())
    config["quantization_config"] |= change
    path.write_text(json.dumps(config))
    with pytest.raises(ModelError, match=message):
        load_awq(tmp_path)


def test_a_directory_that_is_not_quantised_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelError, match="quant_method: None"):
        load_awq(tmp_path)
    with pytest.raises(ModelError, match="cannot be read"):
        load_awq(tmp_path / "absent")
