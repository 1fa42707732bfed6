"""A llama.cpp GGUF file, dequantised once into a Hugging Face directory.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. The `gguf` package reads it and
undoes its quantisation; what is left is names, the row order of q and k, and the tokenizer.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ModelError
from .config import LAYERS

if TYPE_CHECKING:
    from gguf import GGUFReader
    from tokenizers import Tokenizer

_NAMES = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_SPECIAL_TOKEN = 3  # tokenizer.ggml.token_type of a control token


def convert_gguf(gguf_file: Path, directory: Path) -> None:
    """Write config, bfloat16 safetensors and tokenizer of a Llama GGUF into `directory`.

    Weights are dequantised to float32, then rounded to bfloat16. Raises ModelError for a file
    that is truncated, corrupt, or of another architecture or tokenizer.
    """
    import torch
    from safetensors.torch import save_file

    reader = _open(gguf_file)
    try:
        config = _config(reader)
        tokenizer = _tokenizer(reader)
        tokenizer_config = _tokenizer_config(reader, tokenizer)
        tensors = {
            name: torch.from_numpy(values).to(torch.bfloat16)
            for name, values in _tensors(
                reader, config["num_attention_heads"], config["num_key_value_heads"]
            )
        }
    except (KeyError, IndexError, ValueError) as error:
        if isinstance(error, ModelError):
            raise
        problem = f"is not a Llama GGUF that can be read (no {error})"
        raise ModelError("model", str(gguf_file), problem) from error
    config["tie_word_embeddings"] = "lm_head.weight" not in tensors
    directory.mkdir(parents=True, exist_ok=True)
    save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})
    tokenizer.save(str(directory / "tokenizer.json"))
    _write_json(directory / "tokenizer_config.json", tokenizer_config)
    _write_json(directory / "config.json", config)


def _open(path: Path) -> GGUFReader:
    from gguf import GGUFReader

    try:
        return GGUFReader(path)
    except (ValueError, IndexError, KeyError, OSError) as error:
        # Past the end of the file the reader meets missing numbers or a short array.
        problem = f"is not a whole GGUF file ({str(error).partition(chr(10))[0]})"
        raise ModelError("model", str(path), problem) from error


def _field(reader: GGUFReader, key: str) -> Any:
    return reader.fields[key].contents()


def _config(reader: GGUFReader) -> dict[str, Any]:
    architecture = _field(reader, "general.architecture")
    if architecture != "llama":
        raise ModelError("model", architecture, "is not supported in a GGUF; expected 'llama'")
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": len(_field(reader, "tokenizer.ggml.tokens")),
        "hidden_size": int(_field(reader, "llama.embedding_length")),
        "intermediate_size": int(_field(reader, "llama.feed_forward_length")),
        "num_hidden_layers": int(_field(reader, "llama.block_count")),
        "num_attention_heads": int(_field(reader, "llama.attention.head_count")),
        "num_key_value_heads": int(_field(reader, "llama.attention.head_count_kv")),
        "head_dim": int(_field(reader, "llama.rope.dimension_count")),
        "max_position_embeddings": int(_field(reader, "llama.context_length")),
        "rms_norm_eps": float(_field(reader, "llama.attention.layer_norm_rms_epsilon")),
        "rope_theta": float(_field(reader, "llama.rope.freq_base")),
        "hidden_act": "silu",
        "bos_token_id": int(_field(reader, "tokenizer.ggml.bos_token_id")),
        "eos_token_id": int(_field(reader, "tokenizer.ggml.eos_token_id")),
        "torch_dtype": "bfloat16",
    }


def _tensors(
    reader: GGUFReader, heads: int, kv_heads: int
) -> Iterator[tuple[str, np.ndarray[Any, np.dtype[np.float32]]]]:
    """Hugging Face name and float32 values of each tensor."""
    from gguf.quants import dequantize

    for tensor in reader.tensors:
        parts = tensor.name.split(".")
        kind = parts[-2]
        values = dequantize(tensor.data, tensor.tensor_type)
        if kind in ("attn_q", "attn_k"):
            values = _split_halves(values, heads if kind == "attn_q" else kv_heads)
        layer = f"{LAYERS}{parts[1]}." if parts[0] == "blk" else ""
        yield f"{layer}{_NAMES[kind]}.{parts[-1]}", np.require(values, requirements=["C", "W"])


def _split_halves(
    weight: np.ndarray[Any, np.dtype[np.float32]], heads: int
) -> np.ndarray[Any, np.dtype[np.float32]]:
    """llama.cpp rotates neighbours (0, 1), (2, 3), …; Hugging Face rotates (i, i + head_dim/2).

    The rows of each head are put from the first order into the second.
    """
    pairs = weight.reshape(heads, -1, 2, weight.shape[-1])
    return pairs.swapaxes(1, 2).reshape(weight.shape)


def _tokenizer(reader: GGUFReader) -> Tokenizer:
    """SmolLM's tokenizer: byte-level BPE in which every digit is a piece of its own."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    kind = (_field(reader, "tokenizer.ggml.model"), _field(reader, "tokenizer.ggml.pre"))
    if kind != ("gpt2", "smollm"):
        raise ModelError("tokenizer", "/".join(kind), "is not supported; expected gpt2/smollm")
    tokens = _field(reader, "tokenizer.ggml.tokens")
    merges = [tuple(merge.split(" ")) for merge in _field(reader, "tokenizer.ggml.merges")]
    tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(  # type: ignore[assignment]
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()  # type: ignore[assignment]
    types = _field(reader, "tokenizer.ggml.token_type")
    tokenizer.add_special_tokens(
        [
            AddedToken(token, normalized=False, special=True)
            for token, kind in zip(tokens, types, strict=True)
            if kind == _SPECIAL_TOKEN
        ]
    )
    return tokenizer


def _tokenizer_config(reader: GGUFReader, tokenizer: Tokenizer) -> dict[str, Any]:
    named = {
        f"{role}_token": tokenizer.id_to_token(int(_field(reader, key)))
        for role, key in (
            ("bos", "tokenizer.ggml.bos_token_id"),
            ("eos", "tokenizer.ggml.eos_token_id"),
            ("unk", "tokenizer.ggml.unknown_token_id"),
            ("pad", "tokenizer.ggml.padding_token_id"),
        )
        if key in reader.fields
    }
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": int(_field(reader, "llama.context_length")),
        "chat_template": _field(reader, "tokenizer.chat_template"),
        **named,
    }


def _write_json(path: Path, data: dict[str, Any]) -> None:
    path.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
