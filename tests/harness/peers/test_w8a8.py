"""The 8-bit checkpoint that vLLM is given holds the model's weights, as near as 8 bits allow."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from llmbench.engines.models.bundled import model_directory
from llmbench.harness.peers.w8a8 import write_w8a8
from safetensors.torch import load_file


def test_every_linear_map_is_packed_and_nothing_else(tmp_path: Path) -> None:
    source = model_directory()
    made = write_w8a8(source, tmp_path / "w8a8")
    before = {k: v for f in source.glob("*.safetensors") for k, v in load_file(f).items()}
    after = load_file(made / "model.safetensors")
    packed = {name for name, tensor in after.items() if tensor.dtype == torch.int8}
    assert packed == {name for name in before if "_proj." in name}
    assert set(after) == set(before) | {f"{name}_scale" for name in packed}
    for name, tensor in before.items():
        if name in packed:
            near = after[name] * after[f"{name}_scale"]
            assert (near - tensor.float()).abs().max() <= after[f"{name}_scale"].max() / 2 * 1.0001
        else:
            assert torch.equal(after[name], tensor)
    config = json.loads((made / "config.json").read_text())
    assert config["quantization_config"]["config_groups"]["group_0"]["weights"]["num_bits"] == 8
    assert config["hidden_size"] == json.loads((source / "config.json").read_text())["hidden_size"]
    assert list(made.glob("tokenizer*"))


def test_it_is_made_once(tmp_path: Path) -> None:
    made = write_w8a8(model_directory(), tmp_path / "w8a8")
    (made / "mark").touch()
    assert write_w8a8(model_directory(), tmp_path / "w8a8") == made
    assert (made / "mark").exists()
