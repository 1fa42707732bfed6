"""Random weights: any config, any method, the same bits for the same name, and finite logits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from llmbench.engines.assemble import load_model
from llmbench.engines.config import QUANT_METHODS, engine_config
from llmbench.engines.cost.shapes import resolve_shape
from llmbench.engines.errors import ConfigError
from llmbench.engines.llm import LLM
from llmbench.engines.models.catalogue import resolve_dummy
from llmbench.engines.models.dense import dense_logits
from llmbench.engines.models.tokenizer import ByteTokenizer, tokenizer_or_bytes
from llmbench.engines.quantization.dummy import (
    LARGEST_INPUT,
    STD,
    DummyInt4,
    DummyStaticFp8,
    DummyWeights,
    dummy_source,
)
from llmbench.engines.quantization.grid import GridFormat, rtn_pack
from llmbench.engines.quantization.quantized import SideBySide
from llmbench.engines.quantization.scheme import Scheme
from llmbench.engines.resolve import resolve
from llmbench.kernels.fp8 import Fp8Weight
from llmbench.kernels.int4 import PackedInt4

from .dequantized import dequantized_weight

CPU = torch.device("cpu")
SHAPE = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 192,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "vocab_size": 300,
    "tie_word_embeddings": True,
    "rms_norm_eps": 1e-5,
    "torch_dtype": "bfloat16",
}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text(json.dumps(SHAPE))
    return tmp_path


@pytest.mark.parametrize("quant", QUANT_METHODS)
def test_a_config_alone_makes_a_model_that_runs(directory: Path, quant: str) -> None:
    files = resolve_dummy(str(directory))
    engine = engine_config(quant=quant, load_format="dummy", device="cpu", max_model_len=64)
    loaded = load_model(files, resolve(engine, files))
    logits = dense_logits(loaded.model, range(40))
    assert logits.shape == (40, 300)
    assert logits.isfinite().all()
    assert len({int(token) for token in logits.argmax(dim=-1)}) > 1


@pytest.mark.parametrize("quant", QUANT_METHODS)
def test_the_same_model_comes_again(directory: Path, quant: str) -> None:
    settings = {"quant": quant, "load_format": "dummy", "device": "cpu", "max_model_len": 64}
    said = [LLM(str(directory), **settings).generate([[1, 2, 3]])[0].token_ids for _ in range(2)]
    assert said[0] == said[1]


def test_each_weight_has_its_own_values_and_the_right_spread() -> None:
    config = resolve_shape("smollm2-135m")
    weights = DummyWeights(config, torch.bfloat16, CPU)
    names = [f"model.layers.{layer}.self_attn.o_proj" for layer in (0, 1)]
    first, second = (weights[f"{name}.weight"] for name in names)
    assert first.dtype == torch.bfloat16
    assert first.shape == (576, 576)
    assert not torch.equal(first, second)
    assert torch.equal(first, weights[f"{names[0]}.weight"])
    assert first.float().std().item() == pytest.approx(STD, rel=0.02)
    packed = DummyInt4(weights, 64)[names[0]].weight
    assert dequantized_weight(packed).std().item() == pytest.approx(STD, rel=0.02)
    assert set(DummyInt4(weights, 64)) == {
        name.removesuffix(".weight") for name in weights if "_proj" in name
    }


def test_a_group_size_that_divides_no_row_makes_the_groups_of_real_weights(
    directory: Path,
) -> None:
    """A row of 64 inputs in groups of 48 is held in groups of 16, one of 192 as asked."""
    files = resolve_dummy(str(directory))
    engine = engine_config(
        quant="gptq", group_size=48, load_format="dummy", device="cpu", max_model_len=64
    )
    model = load_model(files, resolve(engine, files)).model
    assert dense_logits(model, range(40)).isfinite().all()
    drawn = DummyInt4(DummyWeights(resolve_shape(str(directory)), torch.bfloat16, CPU), 48)
    sizes: dict[int, int] = {}
    for map_ in drawn.values():
        made = map_.weight
        assert isinstance(made, PackedInt4)
        weight = torch.zeros(made.out_features, made.in_features)
        real = rtn_pack(weight, GridFormat(group_size=48))
        assert (made.group_size, made.scales.shape) == (real.group_size, real.scales.shape)
        sizes[made.in_features] = made.group_size
    assert sizes == {64: 16, 192: 48}


def test_static_fp8_has_a_scale_of_its_inputs_that_maps_share(directory: Path) -> None:
    """A scale a tensor; q, k and v, and gate and up, are each one product with one input."""
    config = resolve_shape(str(directory))
    source = dummy_source(config, "fp8-static", group_size=None, dtype=torch.bfloat16, device=CPU)
    drawn = DummyStaticFp8(DummyWeights(config, torch.bfloat16, CPU), Scheme("fp8-static", 8))
    for map_ in drawn.values():
        assert isinstance(map_.weight, Fp8Weight)
        assert map_.weight.scales.numel() == 1
        assert map_.weight.input_scale is not None
    names = [f"model.layers.0.self_attn.{part}_proj" for part in "qkv"]
    linear = source.linear(names)
    assert not isinstance(linear, SideBySide)
    # Beyond what the scale was for, inputs become the largest: nothing is scaled as it comes.
    x = torch.full((1, 64), LARGEST_INPUT, dtype=torch.bfloat16)
    assert torch.equal(linear(4 * x), linear(x))


def test_known_shapes_need_no_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LLMBENCH_CACHE", str(tmp_path))
    files = resolve_dummy("Llama-3-8B")
    assert json.loads((files.directory / "config.json").read_text())["hidden_size"] == 4096
    assert resolve_dummy("llama-3-8b").directory == files.directory
    engine = engine_config(quant="awq", load_format="dummy", device="cpu", max_model_len=1024)
    assert resolve(engine, files).group_size == 128
    assert files.revision == "random weights"
    assert "weights are random" in files.caveat
    with pytest.raises(ConfigError, match="did you mean 'llama-3-8b'"):
        resolve_dummy("llama-3-8")


def test_bytes_stand_in_for_a_tokenizer(directory: Path) -> None:
    tokenizer = tokenizer_or_bytes(directory)
    assert isinstance(tokenizer, ByteTokenizer)
    text = "Grüße, 世界"
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert max(tokenizer.encode(text)) < tokenizer.vocab_size
    assert tokenizer.decode([72, 105, 299]) == "Hi"


def test_what_transformers_computes_has_no_random_weights(directory: Path) -> None:
    files = resolve_dummy(str(directory))
    engine = engine_config(load_format="dummy", model_impl="transformers", device="cpu")
    with pytest.raises(ConfigError, match="load_format: 'dummy' is not allowed"):
        resolve(engine, files)
