"""Small models with random weights, one for each shape of layer that quantisation must know."""

from __future__ import annotations

from typing import Any

import torch
from llmbench.engines.models.config import ModelConfig, parse_config
from torch import Tensor

SHAPES: dict[str, dict[str, Any]] = {
    "multi-head": {"architectures": ["LlamaForCausalLM"], "num_key_value_heads": 4},
    "grouped heads, tied": {
        "architectures": ["LlamaForCausalLM"],
        "num_key_value_heads": 2,
        "tie_word_embeddings": True,
    },
    "every bias": {
        "architectures": ["LlamaForCausalLM"],
        "num_key_value_heads": 4,
        "attention_bias": True,
        "mlp_bias": True,
    },
    "qwen2": {"architectures": ["Qwen2ForCausalLM"], "num_key_value_heads": 2},
    "qwen3": {"architectures": ["Qwen3ForCausalLM"], "num_key_value_heads": 1, "head_dim": 32},
    "mistral": {
        "architectures": ["MistralForCausalLM"],
        "num_key_value_heads": 2,
        "sliding_window": 5,
    },
}


def tiny_json(shape: str) -> dict[str, Any]:
    """A config.json."""
    return {
        "vocab_size": 50,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 64,
        "rms_norm_eps": 1e-5,
        "dtype": "float32",
        **SHAPES[shape],
    }


def tiny_model(shape: str, seed: int = 0) -> tuple[ModelConfig, dict[str, Tensor]]:
    """Config and float32 weights. Norms differ by channel, as a trained model's do: that is what
    gives activations the few large channels AWQ looks for."""
    config = parse_config(tiny_json(shape))
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, size in config.parameter_shapes().items():
        values = torch.randn(size, generator=generator)
        if "norm" in name:
            weights[name] = (0.7 * values).exp()
        elif name.endswith("bias"):
            weights[name] = 0.3 * values
        elif name.startswith("model.embed"):
            weights[name] = values
        else:
            weights[name] = values / size[1] ** 0.5
    return config, weights


def tokens(samples: int = 3, length: int = 16, seed: int = 1) -> Tensor:
    """Calibration windows, int64 [samples, length]."""
    return torch.randint(0, 50, (samples, length), generator=torch.Generator().manual_seed(seed))
