"""Directories as they should be, and every way they can be spoilt."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from llmbench.engines.errors import ModelError
from llmbench.engines.models.loader import (
    INDEX_FILE,
    SINGLE_FILE,
    load_config,
    load_model_directory,
    weight_bytes,
)
from safetensors.torch import load_file, save_file

from .conftest import Saved
from .tiny import VOCAB


@pytest.fixture
def copy(saved_llama: Saved, tmp_path: Path) -> Path:
    """A directory to spoil."""
    return Path(shutil.copytree(saved_llama.directory, tmp_path / "model"))


def refusal(directory: Path) -> str:
    with pytest.raises(ModelError) as refused:
        load_model_directory(directory)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def rewrite(directory: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = load_file(directory / SINGLE_FILE)
    change(tensors)
    save_file(tensors, directory / SINGLE_FILE)


def test_single_file_holds_what_transformers_saved(saved: Saved) -> None:
    _, weights = load_model_directory(saved.directory)
    for name, parameter in saved.reference.named_parameters():
        assert torch.equal(weights[name], parameter.data)


def test_shards_hold_the_same(saved_llama: Saved, tmp_path: Path) -> None:
    saved_llama.reference.save_pretrained(tmp_path, max_shard_size="40KB")
    assert (tmp_path / INDEX_FILE).exists()
    _, sharded = load_model_directory(tmp_path)
    _, single = load_model_directory(saved_llama.directory)
    assert set(sharded) == set(single)
    assert all(torch.equal(sharded[name], single[name]) for name in single)


def test_bytes_are_those_of_the_files_that_are_opened(saved_llama: Saved, tmp_path: Path) -> None:
    saved_llama.reference.save_pretrained(tmp_path, max_shard_size="40KB")
    shards = sorted(tmp_path.glob("*.safetensors"))
    single = saved_llama.directory / SINGLE_FILE
    shutil.copyfile(single, tmp_path / "consolidated.safetensors")
    assert weight_bytes(tmp_path) == sum(shard.stat().st_size for shard in shards)
    assert weight_bytes(saved_llama.directory) == single.stat().st_size


def test_missing_shard_is_named(saved_llama: Saved, tmp_path: Path) -> None:
    saved_llama.reference.save_pretrained(tmp_path, max_shard_size="40KB")
    shard = sorted(tmp_path.glob("*.safetensors"))[1]
    shard.unlink()
    assert f"lacks the shard {shard.name!r}" in refusal(tmp_path)


def test_index_that_names_a_tensor_its_shard_lacks(saved_llama: Saved, tmp_path: Path) -> None:
    saved_llama.reference.save_pretrained(tmp_path, max_shard_size="40KB")
    index = json.loads((tmp_path / INDEX_FILE).read_text())
    index["weight_map"]["model.ghost.weight"] = index["weight_map"]["model.norm.weight"]
    (tmp_path / INDEX_FILE).write_text(json.dumps(index))
    assert "lacks the tensor 'model.ghost.weight'" in refusal(tmp_path)


@pytest.mark.parametrize("kept", [0, 5, 100, 0.5, 0.999])
def test_truncated_file_is_named(copy: Path, kept: float) -> None:
    whole = (copy / SINGLE_FILE).read_bytes()
    size = kept if isinstance(kept, int) else int(len(whole) * kept)
    (copy / SINGLE_FILE).write_bytes(whole[:size])
    message = refusal(copy)
    assert SINGLE_FILE in message
    assert "is not a whole safetensors file" in message


def test_corrupt_header_is_named(copy: Path) -> None:
    whole = bytearray((copy / SINGLE_FILE).read_bytes())
    whole[8:20] = b"\xff" * 12
    (copy / SINGLE_FILE).write_bytes(whole)
    assert f"{SINGLE_FILE}' is not a whole safetensors file" in refusal(copy)


def test_missing_tensor_is_named(copy: Path) -> None:
    name = "model.layers.1.mlp.up_proj.weight"
    rewrite(copy, lambda tensors: tensors.pop(name))
    assert f"lacks the tensor {name!r}" in refusal(copy)


def test_wrong_shape_is_named(copy: Path) -> None:
    name = "model.layers.2.self_attn.k_proj.weight"
    rewrite(copy, lambda tensors: tensors.update({name: torch.zeros(24, 47)}))
    message = refusal(copy)
    assert f"has {name!r} of shape [24, 47]; its config.json asks for [24, 48]" in message


def test_tensor_the_config_does_not_speak_of_is_named(copy: Path) -> None:
    name = "model.layers.0.self_attn.q_proj.bias"
    rewrite(copy, lambda tensors: tensors.update({name: torch.zeros(48)}))
    assert f"has the tensor {name!r}, which its config.json does not" in refusal(copy)


def test_quantised_tensor_is_named(copy: Path) -> None:
    name = "model.layers.0.mlp.up_proj.weight"
    rewrite(copy, lambda t: t.update({name: torch.zeros(t[name].shape, dtype=torch.int8)}))
    assert f"has {name!r} as I8; expected one of F32, F16, BF16" in refusal(copy)


HEAD, EMBEDDING = "lm_head.weight", "model.embed_tokens.weight"


def tie(directory: Path) -> None:
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": True}))


def test_copy_of_a_tied_projection_and_old_rotary_buffers_are_let_pass(copy: Path) -> None:
    tie(copy)
    buffer = "model.layers.0.self_attn.rotary_emb.inv_freq"
    rewrite(copy, lambda t: t.update({buffer: torch.zeros(6), HEAD: t[EMBEDDING].clone()}))
    assert load_model_directory(copy)[0].vocab_size == VOCAB


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tied_projection_that_is_another_is_refused(copy: Path, dtype: torch.dtype) -> None:
    """transformers does not tie these, and computes with the projection."""
    tie(copy)
    rewrite(copy, lambda t: t.update({HEAD: t[EMBEDDING].to(dtype) * 2}))
    message = refusal(copy)
    assert "has 'lm_head.weight', which is not the embedding" in message
    assert 'set "tie_word_embeddings": false there' in message


def test_pickled_weights_are_refused(copy: Path) -> None:
    (copy / SINGLE_FILE).rename(copy / "pytorch_model.bin")
    assert "has its weights in 'pytorch_model.bin'" in refusal(copy)


def test_no_weights_at_all(copy: Path) -> None:
    (copy / SINGLE_FILE).unlink()
    message = refusal(copy)
    assert "has no weights: neither model.safetensors nor model.safetensors.index.json" in message
    assert "pickled (pytorch_model.bin) can run code when read, and are not fetched" in message


def test_unsupported_architecture_is_refused_with_no_weights_there(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"architectures": ["GPT2LMHeadModel"]}')
    assert refusal(tmp_path) == (
        "model: 'GPT2LMHeadModel' is not supported; expected one of LlamaForCausalLM, "
        "MistralForCausalLM, Qwen2ForCausalLM, Qwen3ForCausalLM"
    )


@pytest.mark.parametrize("text", ["", "{", "[]", "\x00"])
def test_config_that_is_no_object(copy: Path, text: str) -> None:
    (copy / "config.json").write_text(text)
    assert "config.json' is not" in refusal(copy)


def test_no_config(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"config\.json' does not exist"):
        load_config(tmp_path)


def test_generation_config_is_read(copy: Path) -> None:
    (copy / "generation_config.json").write_text('{"eos_token_id": [7, 8]}')
    assert load_config(copy).eos_token_ids == (7, 8)
