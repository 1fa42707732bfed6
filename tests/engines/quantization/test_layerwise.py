"""The driver and the methods it drives, on every shape of layer."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch
import torch.nn.functional as F
from llmbench.engines.errors import ConfigError, ModelError
from llmbench.engines.models.config import ModelConfig
from llmbench.engines.quantization import layerwise
from llmbench.engines.quantization.calibration import DEFAULT_SIZES
from llmbench.engines.quantization.dense import DenseSource
from llmbench.engines.quantization.layer import LINEARS, CalibratedLayer, QuantizedLayer
from llmbench.engines.quantization.layerwise import quantize_layers
from llmbench.engines.quantization.methods import METHODS
from llmbench.engines.quantization.quantize import LAYER_METHODS, quantize_model
from llmbench.engines.quantization.quantized import (
    PackedSource,
    QuantizedModel,
)
from llmbench.engines.quantization.rounding import RoundedMaps, round_map
from llmbench.engines.quantization.scheme import Scheme, default_scheme, quantized_maps
from llmbench.kernels.fp8 import Fp8Weight
from torch import Tensor

from .dequantized import dequantized_weight
from .test_awq import logits
from .tiny import SHAPES, tiny_model, tokens

CPU, FLOAT = torch.device("cpu"), torch.float32


def quantize(config: ModelConfig, weights: dict[str, Tensor], method: str) -> QuantizedModel:
    return quantize_model(config, weights, default_scheme(config, method), tokens(4, 32))


def same_maps(one: QuantizedModel, other: QuantizedModel) -> bool:
    return one.maps.keys() == other.maps.keys() and all(
        torch.equal(dequantized_weight(map_.weight), dequantized_weight(other.maps[name].weight))
        for name, map_ in one.maps.items()
    )


def test_every_calibrated_method_is_known_wherever_it_must_be() -> None:
    calibrated = {name: one for name, one in METHODS.items() if one.calibrated}
    assert set(calibrated) == set(LAYER_METHODS) == set(DEFAULT_SIZES)
    for method in calibrated.values():
        baseline = METHODS[method.baseline]
        assert (baseline.form, baseline.calibrated) == (method.form, False)
    assert not any(one.baseline for one in METHODS.values() if not one.calibrated)


@pytest.mark.parametrize("method", LAYER_METHODS)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_of_layer_is_quantised(shape: str, method: str) -> None:
    config, weights = tiny_model(shape)
    result = quantize(config, weights, method)
    assert result.maps.keys() == set(quantized_maps(config))
    assert result.dense.keys() == weights.keys() - {f"{name}.weight" for name in result.maps}
    assert [layer.layer for layer in result.report] == [0, 1]
    ids = tokens(seed=2)[0].tolist()
    exact = logits(config, DenseSource(weights, FLOAT, CPU), ids)
    ours = logits(config, PackedSource(result, FLOAT, CPU), ids)
    limit = {"int4": 0.3, "w8a8": 0.1, "fp8": 0.2}[result.scheme.form]
    assert 0 < float((ours - exact).norm() / exact.norm()) < limit


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("act_order", [True, False])
@pytest.mark.parametrize("group_size", [32, 64, None])
def test_gptq_loses_less_than_rounding(
    bits: int, symmetric: bool, act_order: bool, group_size: int | None
) -> None:
    """In groups, some of which are shorter (96 inputs in 64s), and with a scale a row."""
    config, weights = tiny_model("grouped heads, tied", seed=7)
    scheme = Scheme("gptq", bits, group_size, symmetric, act_order)
    result = quantize_model(config, weights, scheme, tokens(8, 32))
    for layer in result.report:
        assert 0 < layer.loss < layer.rtn_loss
        assert layer.note == ""
    for name in quantized_maps(config):
        weight = dequantized_weight(result.maps[name].weight)
        assert weight.shape == weights[f"{name}.weight"].shape
        assert result.maps[name].order is None


def test_smoothquant_loses_less_where_activations_have_outliers() -> None:
    config, weights = tiny_model("multi-head")
    with_outliers(config, weights, channels=4, factor=30.0)
    for layer in quantize(config, weights, "smoothquant").report:
        assert 0 < layer.loss < 0.5 * layer.rtn_loss
        assert layer.ratios == {"self_attn.q_proj": 0.5, "mlp.gate_proj": 0.5}


def with_outliers(
    config: ModelConfig, weights: dict[str, Tensor], channels: int, factor: float
) -> None:
    """The same function, whose norms give a few channels `factor` times as much."""
    for index in range(config.num_layers):
        layer = f"model.layers.{index}."
        for norm, readers in (
            ("input_layernorm", [f"self_attn.{part}_proj" for part in "qkv"]),
            ("post_attention_layernorm", ["mlp.gate_proj", "mlp.up_proj"]),
        ):
            weights[f"{layer}{norm}.weight"][:channels] *= factor
            for reader in readers:
                weights[f"{layer}{reader}.weight"][:, :channels] /= factor


def test_static_fp8_scales_are_what_calibration_saw() -> None:
    """The largest |x| of each input over 448, one for q, k and v, which stack."""
    config, weights = tiny_model("qwen2")
    result = quantize(config, weights, "fp8-static")
    first = F.embedding(tokens(4, 32), weights["model.embed_tokens.weight"])
    norm = first * torch.rsqrt(first.square().mean(-1, keepdim=True) + config.rms_norm_eps)
    largest = (norm * weights["model.layers.0.input_layernorm.weight"]).abs().max()
    for part in "qkv":
        weight = result.maps[f"model.layers.0.self_attn.{part}_proj"].weight
        assert isinstance(weight, Fp8Weight)
        assert weight.input_scale is not None
        assert float(weight.input_scale) == pytest.approx(float(largest) / 448, rel=1e-4)
        assert weight.scales.shape == (1, 1)
    names = [f"model.layers.0.self_attn.{part}_proj" for part in "qkv"]
    stacked = PackedSource(result, FLOAT, CPU).linear(names)
    assert type(stacked).__name__ != "SideBySide"


@pytest.mark.parametrize("method", LAYER_METHODS)
def test_the_same_input_gives_the_same_weights(method: str) -> None:
    config, weights = tiny_model("grouped heads, tied")
    first, second = (quantize(config, weights, method) for _ in range(2))
    assert first.report == second.report
    assert same_maps(first, second)
    for name, tensor in first.dense.items():
        assert torch.equal(tensor, second.dense[name])


def test_only_gptq_calibrates_on_quantised_predecessors() -> None:
    """A change of the first layer's bits reaches the second's codes under GPTQ only."""
    config, weights = tiny_model("multi-head")
    for method, follows in (("gptq", True), ("awq", False)):
        scheme = default_scheme(config, method)
        made = LAYER_METHODS[method]()
        assert made.follows_quantized == follows
        models = [
            quantize_layers(
                config,
                weights,
                tokens(4, 32),
                CoarseFirst(made, coarse),
                scheme,
                device=CPU,
                progress=lambda _report, _layers: None,
                store=None,
            )
            for coarse in (False, True)
        ]
        second = [name for name in models[0].maps if name.startswith("model.layers.1.")]
        same = all(
            torch.equal(*(dequantized_weight(model.maps[name].weight) for model in models))
            for name in second
        )
        assert same == (not follows)


@dataclass(frozen=True)
class CoarseFirst:
    """A method, but the first layer may be rounded to nearest."""

    method: layerwise.LayerMethod
    coarse: bool

    @property
    def follows_quantized(self) -> bool:
        return self.method.follows_quantized

    def quantize(self, layer: CalibratedLayer) -> QuantizedLayer:
        if layer.index > 0 or not self.coarse:
            return self.method.quantize(layer)
        rtn = replace(layer.runner.scheme, method="rtn")
        return QuantizedLayer(
            {name: round_map(name, layer.tensors[f"{name}.weight"], rtn) for name in LINEARS},
            {},
            {},
        )


def test_batches_change_no_more_than_the_order_of_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    config, weights = tiny_model("qwen3")
    whole = quantize(config, weights, "smoothquant")
    monkeypatch.setattr(layerwise, "BATCH_TOKENS", 32)
    parts = quantize(config, weights, "smoothquant")
    for name, map_ in whole.maps.items():
        torch.testing.assert_close(
            dequantized_weight(parts.maps[name].weight),
            dequantized_weight(map_.weight),
            rtol=0,
            atol=0.02,
        )


@pytest.mark.parametrize(
    ("token_ids", "message"),
    [
        (torch.zeros(8, dtype=torch.int64), r"calibration_token_ids: \[8\]"),
        (torch.zeros(0, 8, dtype=torch.int64), r"calibration_token_ids: \[0, 8\]"),
        (torch.full((1, 8), 50), "token ids below 50"),
    ],
)
def test_tokens_that_do_not_fit_are_refused(token_ids: Tensor, message: str) -> None:
    config, weights = tiny_model("multi-head")
    with pytest.raises(ConfigError, match=message):
        quantize_model(config, weights, default_scheme(config, "awq"), token_ids)


@pytest.mark.parametrize("method", LAYER_METHODS)
def test_weights_that_are_not_finite_are_refused_by_name_before_any_work(method: str) -> None:
    config, weights = tiny_model("multi-head")
    name = "model.layers.1.mlp.up_proj.weight"
    weights[name][3, 3] = torch.nan
    with pytest.raises(ModelError, match=f"'{name}' holds numbers that are not finite"):
        quantize_model(
            config,
            weights,
            default_scheme(config, method),
            tokens(),
            progress=lambda _report, _layers: pytest.fail("a layer was quantised"),
        )


def test_activations_that_overflow_are_refused_by_layer() -> None:
    config, weights = tiny_model("multi-head")
    weights["model.layers.0.mlp.up_proj.weight"] *= 1e30
    weights["model.layers.0.mlp.down_proj.weight"] *= 1e30
    with pytest.raises(ModelError, match="layer 0"):
        quantize(config, weights, "gptq")


def test_a_method_without_calibration_is_rounded_when_asked() -> None:
    config, weights = tiny_model("multi-head")
    result = quantize_model(config, weights, Scheme("rtn", 8, 32))
    assert isinstance(result.maps, RoundedMaps)
    assert result.maps.keys() == set(quantized_maps(config))
    name = "model.layers.1.mlp.down_proj"
    assert f"{name}.weight" not in result.dense
    error = dequantized_weight(result.maps[name].weight) - weights[f"{name}.weight"]
    assert 0 < float(error.abs().max()) < 0.01
