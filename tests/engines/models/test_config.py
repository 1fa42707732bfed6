"""Published configs and what is known of their models; what is refused, by name."""

from __future__ import annotations

from typing import Any

import pytest
from llmbench.engines.errors import ModelError
from llmbench.engines.models.config import (
    LinearRopeScaling,
    Llama3RopeScaling,
    NotNativeError,
    parse_config,
)

from .conftest import Saved
from .tiny import config_of

LLAMA_31_8B: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "attention_bias": False,
    "bos_token_id": 128000,
    "eos_token_id": [128001, 128008, 128009],
    "hidden_act": "silu",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "max_position_embeddings": 131072,
    "mlp_bias": False,
    "model_type": "llama",
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "rms_norm_eps": 1e-05,
    "rope_scaling": {
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
        "rope_type": "llama3",
    },
    "rope_theta": 500000.0,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "vocab_size": 128256,
}
MISTRAL_7B: dict[str, Any] = {
    "architectures": ["MistralForCausalLM"],
    "bos_token_id": 1,
    "eos_token_id": 2,
    "hidden_act": "silu",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "max_position_embeddings": 32768,
    "model_type": "mistral",
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "rms_norm_eps": 1e-05,
    "rope_theta": 10000.0,
    "sliding_window": 4096,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "vocab_size": 32000,
}
QWEN25_05B: dict[str, Any] = {
    "architectures": ["Qwen2ForCausalLM"],
    "bos_token_id": 151643,
    "eos_token_id": 151645,
    "hidden_act": "silu",
    "hidden_size": 896,
    "intermediate_size": 4864,
    "max_position_embeddings": 32768,
    "max_window_layers": 21,
    "model_type": "qwen2",
    "num_attention_heads": 14,
    "num_hidden_layers": 24,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-06,
    "rope_theta": 1000000.0,
    "sliding_window": 32768,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
    "use_sliding_window": False,
    "vocab_size": 151936,
}
QWEN3_06B: dict[str, Any] = {
    "architectures": ["Qwen3ForCausalLM"],
    "attention_bias": False,
    "bos_token_id": 151643,
    "eos_token_id": 151645,
    "head_dim": 128,
    "hidden_act": "silu",
    "hidden_size": 1024,
    "intermediate_size": 3072,
    "max_position_embeddings": 40960,
    "max_window_layers": 28,
    "model_type": "qwen3",
    "num_attention_heads": 16,
    "num_hidden_layers": 28,
    "num_key_value_heads": 8,
    "rms_norm_eps": 1e-06,
    "rope_scaling": None,
    "rope_theta": 1000000,
    "sliding_window": None,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
    "use_sliding_window": False,
    "vocab_size": 151936,
}


@pytest.mark.parametrize(
    ("published", "parameters", "kv_bytes"),
    [
        # Parameter counts as the hub shows them; 128 KiB a token is Llama-3.1-8B's known KV size.
        (LLAMA_31_8B, 8_030_261_248, 131_072),
        (MISTRAL_7B, 7_241_732_096, 131_072),
        (QWEN25_05B, 494_032_768, 12_288),
        (QWEN3_06B, 596_049_920, 114_688),
    ],
    ids=["llama-3.1-8b", "mistral-7b", "qwen2.5-0.5b", "qwen3-0.6b"],
)
def test_published_models(published: dict[str, Any], parameters: int, kv_bytes: int) -> None:
    config = parse_config(published)
    assert config.parameter_count == parameters
    assert config.kv_bytes_per_token("bfloat16") == kv_bytes
    assert config.kv_bytes_per_token("float32") == 2 * kv_bytes
    # A byte a code instead of two, and two bytes of scale beside each head.
    scales = 2 * 2 * config.num_layers * config.num_kv_heads
    assert config.kv_bytes_per_token("float32", "int8") == kv_bytes // 2 + scales
    assert config.kv_bytes_per_token("bfloat16", "fp8") == kv_bytes // 2 + scales
    assert config.dtype == "bfloat16"


def test_llama_31() -> None:
    config = parse_config(LLAMA_31_8B)
    assert config.rope_theta == 500000.0
    assert config.rope_scaling == Llama3RopeScaling(8.0, 1.0, 4.0, 8192)
    assert config.head_dim == 128
    assert config.eos_token_ids == (128001, 128008, 128009)


def test_windows() -> None:
    assert parse_config(MISTRAL_7B).sliding_window == 4096
    assert parse_config(MISTRAL_7B | {"sliding_window": None}).sliding_window is None
    assert parse_config(QWEN25_05B).sliding_window is None
    windowed = {"use_sliding_window": True, "max_window_layers": 0}
    assert parse_config(QWEN25_05B | windowed).sliding_window == 32768
    # No layer reaches max_window_layers, so none has a window.
    assert parse_config(QWEN3_06B | {"use_sliding_window": True}).sliding_window is None


def test_layer_types_decide_of_a_mistral_too() -> None:
    """As transformers, which makes it a Ministral."""
    full, windowed = ["full_attention"] * 32, ["sliding_attention"] * 32
    assert parse_config(MISTRAL_7B | {"layer_types": full}).sliding_window is None
    assert parse_config(MISTRAL_7B | {"layer_types": windowed}).sliding_window == 4096
    assert parse_config(MISTRAL_7B | {"layer_types": None}).sliding_window == 4096
    with pytest.raises(NotNativeError, match=r"layer_types: .*full_attention.*sliding_attention"):
        parse_config(MISTRAL_7B | {"layer_types": windowed[:8] + full[8:]})


def test_biases() -> None:
    qwen2, llama = parse_config(QWEN25_05B), parse_config(LLAMA_31_8B | {"attention_bias": True})
    assert (qwen2.attention_bias, qwen2.output_bias) == (True, False)
    assert (llama.attention_bias, llama.output_bias) == (True, True)


def test_transformers_5_spelling_says_the_same() -> None:
    new = {key: value for key, value in LLAMA_31_8B.items() if not key.startswith("rope_")}
    new["dtype"] = new.pop("torch_dtype")
    new["rope_parameters"] = LLAMA_31_8B["rope_scaling"] | {"rope_theta": 500000.0}
    assert parse_config(new) == parse_config(LLAMA_31_8B)


def test_old_spelling_of_linear_scaling() -> None:
    data = MISTRAL_7B | {"rope_scaling": {"type": "linear", "factor": 2.0}}
    assert parse_config(data).rope_scaling == LinearRopeScaling(2.0)


def test_generation_config_decides_where_to_stop() -> None:
    assert parse_config(QWEN25_05B, {"eos_token_id": [1, 0]}).eos_token_ids == (1, 0)
    assert parse_config(QWEN25_05B, {}).eos_token_ids == (151645,)


def test_saved_by_transformers(saved: Saved) -> None:
    """What the installed transformers writes gives the parameters it has."""
    theirs = {name: tuple(p.shape) for name, p in saved.reference.named_parameters()}
    assert config_of(saved.directory).parameter_shapes() == theirs


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"architectures": ["GPT2LMHeadModel"]},
            "model: 'GPT2LMHeadModel' is not supported; expected one of LlamaForCausalLM, "
            "MistralForCausalLM, Qwen2ForCausalLM, Qwen3ForCausalLM",
        ),
        ({"architectures": None, "model_type": "gpt2"}, "model: 'gpt2' is not supported"),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, "rope_type: 'yarn'"),
        ({"rope_scaling": {"type": "longrope"}}, "rope_type: 'longrope'"),
        ({"rope_scaling": {"type": "linear"}}, "factor: None"),
        ({"hidden_act": "gelu"}, "hidden_act: 'gelu'"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor: 0.5"),
        ({"hidden_size": "big"}, "hidden_size: 'big'"),
        ({"num_hidden_layers": 0}, "num_hidden_layers: 0"),
        ({"num_hidden_layers": 10**30}, "num_hidden_layers: 1000000"),
        ({"max_position_embeddings": 10**30}, "max_position_embeddings: 1000000"),
        ({"vocab_size": None}, "vocab_size: None"),
        ({"num_key_value_heads": 5}, "num_key_value_heads: 5"),
        ({"head_dim": 33}, "head_dim: 33"),
        ({"rms_norm_eps": float("nan")}, "rms_norm_eps: nan"),
        ({"torch_dtype": "float64"}, "dtype: 'float64'"),
        ({"eos_token_id": "</s>"}, "eos_token_id: '</s>'"),
    ],
)
def test_refusals(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError) as refused:
        parse_config(LLAMA_31_8B | change)
    assert str(refused.value).startswith(message)
    assert "\n" not in str(refused.value)


def test_layers_of_two_kinds_are_refused() -> None:
    mixed = {"use_sliding_window": True, "max_window_layers": 12}
    with pytest.raises(ModelError, match=r"layer_types: .*full_attention.*sliding_attention"):
        parse_config(QWEN25_05B | mixed)


def test_architecture_is_known_by_its_type_where_it_is_not_named() -> None:
    assert parse_config(QWEN3_06B | {"architectures": None}).family == "qwen3"
