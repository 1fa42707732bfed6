"""Tiny random models of every family, made by transformers: the reference for ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from llmbench.engines.models.config import ModelConfig
from llmbench.engines.models.llama import Llama
from llmbench.engines.models.loader import load_model_directory
from llmbench.engines.models.ops import select_ops
from llmbench.engines.quantization.dense import DenseSource
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    Cache,
    LlamaConfig,
    MistralConfig,
    Qwen2Config,
    Qwen3Config,
)

CPU = torch.device("cpu")
VOCAB = 61

_SHAPE: dict[str, Any] = {
    "vocab_size": VOCAB,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_LLAMA3 = {
    # Over head_dim 16 these give wavelengths of all three kinds: kept, on the ramp, scaled.
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}

CASES: dict[str, Callable[[], Any]] = {
    "llama": lambda: LlamaConfig(**_SHAPE),
    "llama-tied-group-of-3": lambda: LlamaConfig(
        **_SHAPE | {"num_attention_heads": 6, "num_key_value_heads": 2, "tie_word_embeddings": True}
    ),
    "llama-bias": lambda: LlamaConfig(**_SHAPE, attention_bias=True, mlp_bias=True),
    "llama3-rope": lambda: LlamaConfig(**_SHAPE, head_dim=16, rope_parameters=dict(_LLAMA3)),
    "llama-linear-rope": lambda: LlamaConfig(
        **_SHAPE,
        rope_parameters={"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0},
    ),
    "mistral-window": lambda: MistralConfig(**_SHAPE, sliding_window=7),
    "mistral-no-window": lambda: MistralConfig(**_SHAPE, sliding_window=None, head_dim=20),
    "qwen2": lambda: Qwen2Config(**_SHAPE, tie_word_embeddings=True),
    "qwen3": lambda: Qwen3Config(**_SHAPE, head_dim=32, tie_word_embeddings=True),
}


def build(case: str) -> Any:
    """The transformers model of a case, float32, every parameter random (norms and biases too)."""
    torch.manual_seed(sorted(CASES).index(case))
    config = CASES[case]()
    config._attn_implementation = "eager"
    model = AutoModelForCausalLM.from_config(config).eval()
    for name, parameter in model.named_parameters():
        around = 1.0 if "norm" in name else 0.0
        torch.nn.init.normal_(parameter, mean=around, std=0.25)
    return model


def load(
    directory: Path,
    dtype: torch.dtype = torch.float32,
    force: Mapping[str, str] | None = None,
    step: str | None = None,
) -> Llama:
    """Our model from a directory that transformers wrote."""
    config, weights = load_model_directory(directory)
    ops = select_ops(CPU, dtype, force)
    return Llama(config, DenseSource(weights, dtype, CPU), ops, dtype=dtype, device=CPU, step=step)


def config_of(directory: Path) -> ModelConfig:
    return load_model_directory(directory)[0]


def greedy(
    reference: Any, prompt: list[int], max_tokens: int, cache: Cache | None = None
) -> list[int]:
    """What transformers' `generate` continues a prompt with, end-of-text ignored.

    cache: an empty one of transformers, instead of its own choice.
    """
    whole = reference.generate(
        torch.tensor([prompt]),
        attention_mask=torch.ones(1, len(prompt), dtype=torch.int64),
        do_sample=False,
        max_new_tokens=max_tokens,
        eos_token_id=None,
        pad_token_id=0,
        past_key_values=cache,
    )
    return whole[0, len(prompt) :].tolist()


def assert_near(actual: Tensor, expected: Tensor) -> None:
    """Equal but for the order in which float32 sums were taken."""
    torch.testing.assert_close(actual, expected, atol=1e-4, rtol=1e-4)
