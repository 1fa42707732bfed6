"""auto-round's own directories: a small model rounded, written and loaded again by the library."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from .stored import LibraryMap

Q, UP = "model.layers.1.self_attn.q_proj", "model.layers.1.mlp.up_proj"
SIZES = {Q: (64, 64), UP: (96, 64)}
# By name: what it is asked for, and the packing that it then says it used.
CASES: dict[str, tuple[str, dict[str, Any], str]] = {
    "symmetric": ("auto_round", {"sym": True}, "auto_gptq"),
    "asymmetric": ("auto_round", {"sym": False}, "auto_awq"),
    "auto_gptq": ("auto_round:auto_gptq", {"sym": False}, "auto_gptq"),
    "gptqmodel": ("auto_round:gptqmodel", {"sym": False}, "gptqmodel"),
    "8 bits": ("auto_round", {"sym": True, "bits": 8, "group_size": -1}, "auto_gptq"),
    "awq, one layer not": (
        "auto_round:auto_awq",
        {"sym": False, "layer_config": {UP: {"bits": 16}}},
        "auto_awq",
    ),
    "several": (
        "auto_round",
        {
            "sym": True,
            "layer_config": {UP: {"bits": 8, "group_size": 64}, "k_proj": {"bits": 16}},
        },
        "auto_gptq",
    ),
    "blocks": (
        "auto_round",
        {"sym": True, "to_quant_block_names": "model.layers.1,model.layers.2"},
        "auto_gptq",
    ),
}
# The library has no kernel for a CPU that reads zero points stored less one.
NOT_LOADED = ("auto_gptq",)


def make() -> dict[str, LibraryMap]:
    made = {}
    for name in CASES:
        with TemporaryDirectory() as directory:
            out = write(name, small_llama(), Path(directory))
            settings = json.loads((out / "config.json").read_text())["quantization_config"]
            tensors = load_file(out / "model.safetensors")
            read = {} if name in NOT_LOADED else weights_read(out)
        for module in (Q, UP):
            if f"{module}.qweight" in tensors:
                parts = {
                    key.removeprefix(f"{module}."): tensor
                    for key, tensor in tensors.items()
                    if key.startswith(f"{module}.")
                }
                made[f"{name}, {module.rpartition('.')[2]}"] = LibraryMap(
                    settings, module, parts, read.get(module), size=SIZES[module]
                )
    return made


def small_llama() -> Any:
    """Three layers with random weights."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=64,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return LlamaForCausalLM(config).float().eval()


def _tokenizer() -> Any:
    """A token a word."""
    import tokenizers
    from transformers import PreTrainedTokenizerFast

    words = {f"w{index}": index for index in range(64)}
    tokens = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="w0"))
    tokens.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=tokens, unk_token="w0", pad_token="w0")


def write(case: str, model: Any, path: Path) -> Path:
    """The directory that the library writes of a model, which it changes."""
    form, options, _ = CASES[case]
    writer = import_module("auto_round").AutoRound(
        model,
        _tokenizer(),
        iters=0,
        disable_opt_rtn=True,
        device_map="cpu",
        **{"bits": 4, "group_size": 32, **options},
    )
    writer.quantize_and_save(output_dir=str(path), format=form)
    (config,) = path.rglob("config.json")
    return config.parent


def weights_read(out: Path) -> dict[str, Tensor]:
    """Of the layers that the library finds quantised when it loads a directory: what comes out of
    each for the unit vectors, [out_features, in_features]. It computes in float16."""
    from transformers import AutoModelForCausalLM, AutoRoundConfig

    loaded = AutoModelForCausalLM.from_pretrained(
        out, dtype=torch.float32, quantization_config=AutoRoundConfig(backend="torch")
    )
    sizes = loaded.config
    inputs = {"down_proj": sizes.intermediate_size}
    return {
        name: layer(torch.eye(inputs.get(name.rpartition(".")[2], sizes.hidden_size))).T.half()
        for name, layer in loaded.named_modules()
        if name.endswith("_proj") and type(layer) is not torch.nn.Linear
    }
