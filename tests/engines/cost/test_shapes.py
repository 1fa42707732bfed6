from __future__ import annotations

import json
from pathlib import Path

import pytest
from llmbench.engines.cost.shapes import known_shapes, resolve_shape
from llmbench.engines.errors import ConfigError, ModelError
from llmbench.engines.models.bundled import model_directory
from llmbench.engines.models.catalogue import cache_directory
from llmbench.engines.models.loader import load_config
from llmbench.engines.models.smollm2 import cached_directory


@pytest.mark.parametrize(
    ("name", "billions"),
    [
        # As their model cards and the Hugging Face parameter counts give them.
        ("llama-2-7b", 6.738),
        ("llama-2-13b", 13.016),
        ("llama-3-8b", 8.030),
        ("llama-3.1-8b", 8.030),
        ("llama-3-70b", 70.554),
        ("llama-3.1-70b", 70.554),
        ("llama-3.1-405b", 405.853),
        ("mistral-7b", 7.248),
        ("qwen3-8b", 8.191),
        ("qwen3-32b", 32.762),
        ("smollm2-135m", 0.1345),
    ],
)
def test_parameters_are_the_published_ones(name: str, billions: float) -> None:
    assert resolve_shape(name).parameter_count / 1e9 == pytest.approx(billions, abs=5e-4)


def test_contexts_of_the_two_llamas() -> None:
    assert resolve_shape("llama-3-8b").max_position_embeddings == 8192
    assert resolve_shape("llama-3.1-8b").max_position_embeddings == 131072


def test_the_bundled_model_is_its_own_config() -> None:
    assert resolve_shape("bundled").num_layers == load_config(model_directory()).num_layers
    assert "bundled" in known_shapes()


@pytest.mark.smollm2
def test_smollm2s_shape_is_that_of_the_checkpoint() -> None:
    checkpoint = load_config(cached_directory(cache_directory()))
    assert resolve_shape("smollm2-135m").parameter_shapes() == checkpoint.parameter_shapes()


def test_a_config_alone_is_enough(tmp_path: Path) -> None:
    """No weights beside it; the directory or the file."""
    data = json.loads((model_directory() / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(data | {"num_hidden_layers": 5}))
    assert resolve_shape(str(tmp_path)).num_layers == 5
    assert resolve_shape(str(tmp_path / "config.json")).num_layers == 5


def test_what_is_wrong_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'llama-3-70b'"):
        resolve_shape("llama3-70b")
    with pytest.raises(ModelError, match="does not exist"):
        resolve_shape(str(tmp_path))
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ModelError, match="is not JSON") as caught:
        resolve_shape(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_a_config_that_nests_without_end_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("[" * 99_999)
    with pytest.raises(ModelError, match=r"config\.json' is not JSON"):
        resolve_shape(str(tmp_path))


def test_a_config_that_cannot_be_read_is_not_called_malformed(tmp_path: Path) -> None:
    (tmp_path / "config.json").mkdir()
    with pytest.raises(ModelError, match=r"config\.json' cannot be read \(Is a directory\)"):
        resolve_shape(str(tmp_path))


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"architectures": ["GPTNeoXForCausalLM"]}, "model: 'GPTNeoXForCausalLM' is not supported"),
        (
            {
                "model_type": "llama",
                "hidden_act": "gelu",
                "num_attention_heads": 1,
                "hidden_size": 2,
            },
            "hidden_act: 'gelu' is not supported",
        ),
    ],
)
def test_a_model_that_only_transformers_computes_has_no_cost_model(
    config: dict[str, object], why: str, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError) as caught:
        resolve_shape(str(tmp_path))
    assert f"has no cost model ({why}" in str(caught.value)
    assert "\n" not in str(caught.value)
