"""The driver and the methods it drives, on every shape of layer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from llmbench.engines.errors import ConfigError, ModelError
from llmbench.engines.models.config import ModelConfig
from llmbench.engines.quantization import layerwise, resume
from llmbench.engines.quantization.calibration import DEFAULT_SIZES
from llmbench.engines.quantization.dense import DenseSource
from llmbench.engines.quantization.layer import LINEARS, CalibratedLayer, QuantizedLayer
from llmbench.engines.quantization.layerwise import quantize_layers
from llmbench.engines.quantization.methods import METHODS
from llmbench.engines.quantization.quantize import LAYER_METHODS, REVISIONS, quantize_model
from llmbench.engines.quantization.quantized import (
    LayerReport,
    PackedSource,
    QuantizedMap,
    QuantizedModel,
)
from llmbench.engines.quantization.resume import (
    FinishedMaps,
    LayerStore,
    StoredLayer,
    finished_layers,
)
from llmbench.engines.quantization.rounding import RoundedMaps, round_map
from llmbench.engines.quantization.scheme import Scheme, default_scheme, quantized_maps
from llmbench.kernels.fp8 import Fp8Weight
from llmbench.kernels.w8a8 import W8A8Weight
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
    assert set(calibrated) == set(LAYER_METHODS) == set(REVISIONS) == set(DEFAULT_SIZES)
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


@pytest.mark.parametrize("method", LAYER_METHODS)
def test_an_interrupted_quantisation_goes_on_where_it_stopped(method: str, tmp_path: Path) -> None:
    config, weights = tiny_model("every bias")
    scheme = default_scheme(config, method)

    def stop(_report: LayerReport, _layers: int) -> None:
        raise KeyboardInterrupt

    store = LayerStore(tmp_path / "layers", "one")
    with pytest.raises(KeyboardInterrupt):
        quantize_model(config, weights, scheme, tokens(4, 32), progress=stop, store=store)
    assert finished_layers(tmp_path / "layers") == 1
    first = (tmp_path / "layers" / "layer-00000.safetensors").stat().st_mtime_ns
    seen: list[int] = []
    resumed = quantize_model(
        config,
        weights,
        scheme,
        tokens(4, 32),
        progress=lambda report, layers: seen.append(report.layer * 10 + layers),
        store=LayerStore(tmp_path / "layers", "one"),
    )
    assert seen == [2, 12]
    assert (tmp_path / "layers" / "layer-00000.safetensors").stat().st_mtime_ns == first
    whole = quantize(config, weights, method)
    assert same_maps(resumed, whole)
    assert resumed.report == whole.report
    for name, tensor in whole.dense.items():
        assert torch.equal(resumed.dense[name], tensor)


def test_with_a_store_a_model_is_read_a_layer_at_a_time(tmp_path: Path) -> None:
    """So that what is finished takes no memory; a layer that is gone by then is named."""
    config, weights = tiny_model("multi-head")
    store = LayerStore(tmp_path, "one")
    scheme = default_scheme(config, "gptq")
    model = quantize_model(config, weights, scheme, tokens(4, 32), store=store)
    assert isinstance(model.maps, FinishedMaps)
    assert tuple(model.maps) == quantized_maps(config)
    assert len(model.maps) == 14
    with pytest.raises(KeyError):
        model.maps["lm_head"]
    first = model.maps["model.layers.0.mlp.up_proj"]
    assert model.maps["model.layers.0.mlp.up_proj"] is first
    (tmp_path / "layer-00001.safetensors").unlink()
    with pytest.raises(ModelError, match=r"layers.1.mlp.up_proj' was finished, and its"):
        model.maps["model.layers.1.mlp.up_proj"]


def test_another_quantisations_layers_are_refused_and_torn_ones_made_again(tmp_path: Path) -> None:
    config, weights = tiny_model("multi-head")
    scheme = default_scheme(config, "gptq")
    store = LayerStore(tmp_path, "one")
    quantize_model(config, weights, scheme, tokens(4, 32), store=store)
    with pytest.raises(ConfigError, match="same model, calibration and settings"):
        LayerStore(tmp_path, "another")
    torn = tmp_path / "layer-00001.safetensors"
    torn.write_bytes(torn.read_bytes()[:-100])
    assert store.load(0) is not None
    assert store.load(1) is None
    (tmp_path / "state.json").write_text("{")
    with pytest.raises(ConfigError, match="resume"):
        LayerStore(tmp_path, "one")


def test_two_quantisations_that_begin_in_one_place_do_not_mix(tmp_path: Path) -> None:
    """Neither has kept a layer when both look; then the second may not, and reads none."""
    config, weights = tiny_model("multi-head")
    one, another = LayerStore(tmp_path, "one"), LayerStore(tmp_path, "another")
    quantize_model(config, weights, default_scheme(config, "gptq"), tokens(4, 32), store=one)
    with pytest.raises(ConfigError, match="same model, calibration and settings"):
        quantize_model(config, weights, Scheme("gptq", 8, 32), tokens(4, 32), store=another)
    assert one.load(0) is not None
    assert another.load(0) is None
    another.forget()
    assert finished_layers(tmp_path) == 2
    one.forget()
    assert not tmp_path.exists()


@pytest.mark.parametrize("opener", [(resume, "safe_open"), (torch.UntypedStorage, "from_file")])
def test_a_layer_that_another_process_forgets_while_it_is_read_is_not_there(
    opener: tuple[Any, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before its file is opened, and between its header and its tensors."""
    config, weights = tiny_model("multi-head")
    said: list[str] = []
    store = LayerStore(tmp_path, "one", said.append)
    quantize_model(config, weights, default_scheme(config, "gptq"), tokens(4, 32), store=store)
    opens = getattr(*opener)

    def gone(*args: Any, **kwargs: Any) -> Any:
        LayerStore(tmp_path, "one").forget()
        return opens(*args, **kwargs)

    monkeypatch.setattr(*opener, gone)
    assert store.resume(0) is None
    assert not tmp_path.exists()
    assert said == []


def test_a_stored_layer_keeps_the_order_of_its_inputs(tmp_path: Path) -> None:
    order = torch.randperm(64)
    one, other = (
        W8A8Weight(torch.randint(-127, 128, (8, 64), dtype=torch.int8), torch.rand(8))
        for _ in range(2)
    )
    maps = {"mlp.up_proj": QuantizedMap(one, order), "mlp.down_proj": QuantizedMap(other)}
    store = LayerStore(tmp_path, "one")
    store.save(StoredLayer(maps, {}, LayerReport(0, 1.0, 1.0, {})))
    stored = store.load(0)
    assert stored is not None
    found = stored.maps["mlp.up_proj"].order
    assert found is not None
    assert torch.equal(found, order)
    assert stored.maps["mlp.down_proj"].order is None


@pytest.mark.parametrize("place", [-100, 20, 9])
def test_a_damaged_layer_is_made_again_and_said_to_be(place: int, tmp_path: Path) -> None:
    """Bytes in the midst of its weights, of its metadata, of its header, as a bad disk gives."""
    config, weights = tiny_model("multi-head")
    scheme = default_scheme(config, "gptq")
    said: list[str] = []
    store = LayerStore(tmp_path, "one", said.append)
    whole = quantize_model(config, weights, scheme, tokens(4, 32), store=store)
    expected = {name: dequantized_weight(one.weight) for name, one in whole.maps.items()}
    file = tmp_path / "layer-00001.safetensors"
    data = bytearray(file.read_bytes())
    data[place] ^= 0x41
    file.write_bytes(data)
    with pytest.raises(ModelError, match="its layer's file is gone or damaged"):
        FinishedMaps(store, quantized_maps(config))["model.layers.1.mlp.up_proj"]
    assert said == []
    again = quantize_model(config, weights, scheme, tokens(4, 32), store=store)
    assert said == [f"layer 2 is made again: {file} is damaged"]
    for name, map_ in again.maps.items():
        assert torch.equal(dequantized_weight(map_.weight), expected[name])


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
