"""What a config says of a model that runs through transformers, and which are refused for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import transformers
from llmbench.engines.errors import ConfigError, ModelError
from llmbench.engines.models.catalogue import ModelFiles
from llmbench.engines.models.hf_config import describe
from llmbench.engines.resolve import resolve

from .families import FAMILIES, GROUPED, SHAPE, settings
from .tiny import VOCAB


def test_windows_are_a_layers_own(tmp_path: Path) -> None:
    FAMILIES["gemma3"]().save_pretrained(tmp_path)
    assert describe(tmp_path).windows == (7, None, 7)


def test_llama_that_native_code_does_not_compute_runs_through_transformers(tmp_path: Path) -> None:
    transformers.LlamaConfig(**GROUPED, hidden_act="gelu").save_pretrained(tmp_path)
    files = ModelFiles("llama", tmp_path)
    assert resolve(settings(), files).model_impl == "transformers"
    with pytest.raises(ModelError, match="hidden_act: 'gelu' is not supported"):
        resolve(settings(model_impl="native"), files)


@pytest.mark.parametrize("named", ["Qwen2Model", "Qwen2ForSequenceClassification"])
def test_what_is_no_language_model_is_not_taken_for_one(named: str, tmp_path: Path) -> None:
    """With tied embeddings its checkpoint has every weight that the language model asks for."""
    config = transformers.Qwen2Config(**GROUPED, tie_word_embeddings=True)
    config.architectures = [named]
    config.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=f"'{named}' .* would build Qwen2ForCausalLM"):
        resolve(settings(), ModelFiles("qwen2", tmp_path))


_MLA: dict[str, Any] = {
    "q_lora_rank": None,
    "kv_lora_rank": 16,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 16,
}
_TOO_DEEP: dict[str, Any] = SHAPE | {"num_hidden_layers": 10**12}
_CONVOLUTION: dict[str, Any] = GROUPED | {"head_dim": 12}
REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "softcap": (lambda: transformers.Gemma2Config(**GROUPED), "'softcap', which is not computed"),
    "sinks": (
        lambda: transformers.GptOssConfig(**GROUPED, num_local_experts=4),
        "'s_aux', which is not computed",
    ),
    "recurrent": (
        lambda: transformers.MambaConfig(vocab_size=VOCAB, hidden_size=48, num_hidden_layers=2),
        "'MambaForCausalLM' keeps a recurrent state",
    ),
    "convolution": (
        lambda: transformers.Lfm2Config(**_CONVOLUTION),
        "'Lfm2ForCausalLM'",
    ),
    "chunked": (
        lambda: transformers.Llama4TextConfig(**GROUPED, intermediate_size_mlp=80),
        "has a mask that is neither causal nor a sliding window",
    ),
    "forgetful": (
        lambda: transformers.MoshiConfig(**GROUPED, ffn_dim=80, sliding_window=9),
        "has a mask of all tokens and a cache of 9",
    ),
    "latent": (
        lambda: transformers.DeepseekV3Config(
            **SHAPE, **_MLA, v_head_dim=16, n_routed_experts=8, n_group=1, topk_group=1
        ),
        "keys of 24 and values of 16",
    ),
    "two directions": (
        lambda: transformers.BertConfig(**SHAPE),
        "attends in both directions, which is not computed",
    ),
    "no positions": (
        lambda: transformers.BartConfig(vocab_size=VOCAB, d_model=48),
        "takes no position_ids",
    ),
    "too deep to be built": (
        lambda: transformers.GPTNeoXConfig(**_TOO_DEEP),
        "num_hidden_layers: 1000000000000 in config.json; expected an integer of at most 10000",
    ),
    "own attention": (
        lambda: transformers.GPTJConfig(vocab_size=VOCAB, n_embd=48, n_head=4, n_layer=2),
        "does not run through transformers' attention interface",
    ),
}


@pytest.mark.parametrize("case", sorted(REFUSED))
def test_what_is_not_computed_is_refused_without_weights(case: str, tmp_path: Path) -> None:
    build, message = REFUSED[case]
    build().save_pretrained(tmp_path)
    with pytest.raises(ModelError) as refused:
        resolve(settings(), ModelFiles(case, tmp_path))
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_longrope_is_served_up_to_where_its_frequencies_change(tmp_path: Path) -> None:
    factors = {"short_factor": [1.0] * 6, "long_factor": [4.0] * 6}
    transformers.Phi3Config(
        **SHAPE,
        intermediate_size=80,
        original_max_position_embeddings=32,
        rope_parameters={
            "rope_type": "longrope",
            "rope_theta": 10000.0,
            "original_max_position_embeddings": 32,
            **factors,
        },
    ).save_pretrained(tmp_path)
    files = ModelFiles("phi3", tmp_path)
    assert resolve(replace(settings(), max_model_len=None), files).max_model_len == 32
    with pytest.raises(ConfigError, match="max_model_len: 33"):
        resolve(settings(max_model_len=33), files)


def test_quantisation_is_refused_in_one_line(tmp_path: Path) -> None:
    FAMILIES["opt"]().save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="quant: 'awq' is not allowed; expected none: opt runs"):
        resolve(settings(quant="awq"), ModelFiles("opt", tmp_path))
