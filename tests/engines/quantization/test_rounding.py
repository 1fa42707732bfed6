"""The methods that calibrate nothing: what they make of a weight, and what a model loses by it."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from llmbench.engines.errors import ModelError
from llmbench.engines.models import bundled
from llmbench.engines.models.config import ModelConfig
from llmbench.engines.models.dense import dense_logits
from llmbench.engines.models.llama import Llama
from llmbench.engines.models.loader import load_model_directory
from llmbench.engines.models.ops import select_ops
from llmbench.engines.quantization.dense import DenseSource
from llmbench.engines.quantization.linear import WeightSource
from llmbench.engines.quantization.load import load_weights
from llmbench.engines.quantization.methods import METHODS, linear_ops
from llmbench.engines.quantization.quantized import PackedSource, QuantizedModel
from llmbench.engines.quantization.rounding import (
    ROUND,
    RoundedMaps,
    plain_model,
    rounded_model,
    with_rounded_head,
)
from llmbench.engines.quantization.scheme import default_scheme, resolve_group_size
from llmbench.kernels.fp4 import Fp4Weight
from llmbench.kernels.registry import OPS
from tokenizers import Tokenizer
from torch import Tensor

from .dequantized import dequantized_weight
from .tiny import SHAPES, tiny_model

CPU, FLOAT = torch.device("cpu"), torch.float32
BUNDLED = Path(bundled.__file__).parent


def test_every_method_names_its_operations_and_its_maker() -> None:
    assert {op for method in ("none", *METHODS) for op in linear_ops(method)} <= set(OPS)
    assert linear_ops("none", "int8") == ("w8a16_linear", "linear")
    assert linear_ops("awq", "w8a8") == ("w8a8_linear", "w4a16_linear")
    assert linear_ops("w8a8") == ("w8a8_linear",)
    assert linear_ops("awq", activations="int8") == ("linear", "w4a8_linear")
    made = [one for one in METHODS.values() if not one.published]
    assert {method.name for method in made if not method.calibrated} == set(ROUND)


def grid_by_hand(groups: Tensor, method: str) -> Tensor:
    """What rounding to nearest leaves of groups [..., size] that share a scale, by the formulas of
    the formats."""
    largest = groups.abs().amax(-1, keepdim=True)
    if method == "rtn":
        low, high = groups.amin(-1, keepdim=True), groups.amax(-1, keepdim=True)
        scale = ((high.clamp(min=0) - low.clamp(max=0)) / 15).half().float()
        zero = (-low.clamp(max=0) / scale).round()
        return ((groups / scale).round() + zero).clamp(0, 15).sub(zero) * scale
    if method in ("int8", "w8a8"):
        return (groups / (largest / 127)).round() * (largest / 127)
    if method.startswith("fp8"):
        return (groups / (largest / 448)).to(torch.float8_e4m3fn).float() * (largest / 448)
    levels = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6])
    if method == "mxfp4":
        scale = 2 ** (largest.log2().floor() - 2)
    else:
        tensor = groups.abs().max() / (6 * 448)
        scale = (largest / 6 / tensor).to(torch.float8_e4m3fn).float() * tensor
    nearest = ((groups / scale).abs()[..., None] - levels).abs().argmin(-1)
    return groups.sign() * levels[nearest] * scale


@pytest.mark.parametrize("method", ROUND)
def test_a_weight_becomes_what_the_formats_formulas_say(method: str) -> None:
    config, _ = tiny_model("multi-head")
    weight = torch.randn(64, 96) * torch.rand(64, 1)
    maps = RoundedMaps({"a.weight": weight}, ["a"], default_scheme(config, method, 32), CPU)
    actual = dequantized_weight(maps["a"].weight)
    size = {"rtn": 32, "nvfp4": 16, "mxfp4": 32}.get(method, 96)
    groups = weight.view(1, -1) if method == "fp8-block" else weight.unflatten(1, (-1, size))
    expected = grid_by_hand(groups, method).view_as(weight)
    # A tie may go either way where a scale differs in its last bit.
    assert float((actual != expected).float().mean()) < 0.01 or torch.allclose(actual, expected)
    torch.testing.assert_close(actual.norm(), expected.norm(), rtol=1e-3, atol=0)


@pytest.mark.parametrize("shape", SHAPES)
def test_maps_that_engines_run_as_one_share_nvfp4s_factor(shape: str) -> None:
    """vLLM and SGLang keep one of {q, k, v} and one of {gate, up}: the largest weight of all of
    them over 6 · 448; each block's scale is then the nearest e4m3 number under it."""
    config, weights = tiny_model(shape)
    model = rounded_model(config, weights, "nvfp4", None, CPU)
    for group in (
        ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
        ("self_attn.o_proj",),
        ("mlp.gate_proj", "mlp.up_proj"),
        ("mlp.down_proj",),
    ):
        names = [f"model.layers.1.{one}" for one in group]
        plain = {name: weights[f"{name}.weight"] for name in names}
        factor = max(float(one.abs().max()) for one in plain.values()) / (6 * 448)
        for name, weight in plain.items():
            made = model.maps[name].weight
            assert isinstance(made, Fp4Weight)
            assert made.row_scales.tolist() == pytest.approx([factor] * len(weight), rel=1e-6)
            largest = weight.unflatten(1, (-1, 16)).abs().amax(-1)
            scales = (largest / 6 / made.row_scales[:, None]).to(torch.float8_e4m3fn)
            assert torch.equal(made.scales.view(torch.float8_e4m3fn).float(), scales.float())


@pytest.mark.parametrize("method", ROUND)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_layers_maps_are_rounded_and_the_rest_is_not(shape: str, method: str) -> None:
    config, weights = tiny_model(shape)
    model = rounded_model(config, weights, method, 32, CPU)
    source = PackedSource(model, FLOAT, CPU)
    names = [f"model.layers.1.self_attn.{part}_proj" for part in "qkv"]
    x = torch.randn(5, config.hidden_size)
    weight = torch.cat([dequantized_weight(model.maps[name].weight) for name in names])
    expected = x @ weight.T
    if f"{names[0]}.bias" in weights:
        expected += torch.cat([weights[f"{name}.bias"] for name in names])
    linear = source.linear(names)
    error = float((linear(x) - expected).norm() / expected.norm())
    assert error < (0.05 if METHODS[method].form in ("w8a8", "fp8") else 1e-5)
    assert linear.weight_bytes < 0.35 * weight.nbytes
    for name in ("model.norm.weight", "model.embed_tokens.weight"):
        assert torch.equal(source.tensor(name), weights[name])
    assert model.dense.keys() == weights.keys() - {f"{name}.weight" for name in model.maps}


@pytest.mark.parametrize("head", ["none", "int8", "w8a8"])
@pytest.mark.parametrize("method", ["none", "rtn", "int8"])
def test_the_output_projection_is_rounded_as_asked(method: str, head: str) -> None:
    """Whatever the method, tied or not; the embedding, and every other map, stay what they were."""
    for shape in SHAPES:
        config, weights = tiny_model(shape)
        layers = plain_model(weights) if method == "none" else _rounded(config, weights, method)
        model = with_rounded_head(config, layers, head, CPU)
        name = "model.embed_tokens" if config.tie_word_embeddings else "lm_head"
        weight = weights[f"{name}.weight"]
        scales = weight.abs().amax(1, keepdim=True) / 127
        expected = weight if head == "none" else (weight / scales).round() * scales
        linear = PackedSource(model, FLOAT, CPU).linear([name])
        x = torch.randn(5, config.hidden_size)
        error = float((linear(x) - x @ expected.T).norm() / (x @ weight.T).norm())
        assert error < (0.02 if head == "w8a8" else 1e-5)
        assert (linear.weight_bytes < 0.3 * weight.nbytes) == (head != "none")
        assert {*model.maps} - {name} == {*layers.maps}
        assert len(model.maps) == len({*model.maps})
        source = PackedSource(model, FLOAT, CPU)
        assert torch.equal(
            source.tensor("model.embed_tokens.weight"), weights["model.embed_tokens.weight"]
        )


def _rounded(config: ModelConfig, weights: dict[str, Tensor], method: str) -> QuantizedModel:
    return rounded_model(config, weights, method, 32, CPU)


@pytest.mark.parametrize("method", ROUND)
def test_weights_that_are_not_finite_are_refused_by_name(method: str) -> None:
    config, weights = tiny_model("multi-head")
    name = "model.layers.0.mlp.up_proj"
    weights[f"{name}.weight"][3, 3] = torch.nan
    model = rounded_model(config, weights, method, 32, CPU)
    with pytest.raises(ModelError, match=rf"{name}.weight' holds numbers that are not finite"):
        PackedSource(model, FLOAT, CPU).linear([name])


def test_blocks_that_do_not_divide_the_inputs_are_refused_by_name() -> None:
    config, _ = tiny_model("multi-head")
    scheme = default_scheme(config, "mxfp4")
    maps = RoundedMaps({"a.weight": torch.randn(8, 48)}, ["a"], scheme, CPU)
    with pytest.raises(ModelError, match=r"'a' cannot be quantised: mxfp4 needs .* blocks of 32"):
        maps["a"]


@pytest.mark.parametrize("method", [name for name, one in METHODS.items() if not one.grouped])
def test_a_method_without_groups_takes_none(method: str) -> None:
    config, _ = tiny_model("qwen2")
    assert resolve_group_size(config, method, None) is None


# Perplexity of the bundled model may change by this share; KL in nats a token from the exact model.
QUALITY = {
    "int8": (0.002, 0.002),
    "w8a8": (0.004, 0.002),
    "fp8": (0.01, 0.01),
    "fp8-block": (0.01, 0.01),
    "rtn": (0.02, 0.02),
    "nvfp4": (0.03, 0.04),
    "mxfp4": (0.04, 0.06),
}


def scored(config: ModelConfig, source: WeightSource, dtype: torch.dtype) -> tuple[Tensor, float]:
    tokenizer = Tokenizer.from_file(str(BUNDLED / "tokenizer.json"))
    ids = torch.tensor(tokenizer.encode((BUNDLED / "heldout.txt").read_text()).ids[:2048])
    model = Llama(config, source, select_ops(CPU, dtype), dtype=dtype, device=CPU)
    windows = ids.split(512)
    parts = [dense_logits(model, w.tolist()).double().log_softmax(-1) for w in windows]
    losses = [F.nll_loss(part[:-1], w[1:]) for part, w in zip(parts, windows, strict=True)]
    return torch.cat(parts), math.exp(float(torch.stack(losses).mean()))


@pytest.fixture(scope="module")
def exact() -> tuple[Tensor, float]:
    config, weights = load_model_directory(BUNDLED)
    return scored(config, DenseSource(weights, FLOAT, CPU), FLOAT)


@pytest.mark.parametrize("dtype", [FLOAT, torch.bfloat16], ids=str)
@pytest.mark.parametrize("method", ROUND)
def test_the_bundled_model_keeps_its_quality(
    method: str, dtype: torch.dtype, exact: tuple[Tensor, float]
) -> None:
    """On held-out text, against float32. What bfloat16 itself costs is a KL of about 1e-4."""
    config, _ = load_model_directory(BUNDLED)
    size = resolve_group_size(config, method, None)
    loaded = load_weights(BUNDLED, method, group_size=size, dtype=dtype, device=CPU)
    ours, perplexity = scored(config, loaded.source, dtype)
    log_p, exact_perplexity = exact
    kl = float((log_p.exp() * (log_p - ours)).sum(-1).mean())
    print(f"{method}: perplexity {exact_perplexity:.3f} -> {perplexity:.3f}, KL {kl:.5f}")
    share, most_kl = QUALITY[method]
    assert abs(perplexity / exact_perplexity - 1) < share
    assert 0 < kl < most_kl
