"""Layers that are finished are kept one by one, and a quantisation goes on from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from llmbench.engines.errors import ConfigError, ModelError
from llmbench.engines.quantization import resume
from llmbench.engines.quantization.quantize import LAYER_METHODS, quantize_model
from llmbench.engines.quantization.quantized import (
    LayerReport,
    QuantizedMap,
)
from llmbench.engines.quantization.resume import (
    FinishedMaps,
    LayerStore,
    StoredLayer,
    finished_layers,
)
from llmbench.engines.quantization.scheme import Scheme, default_scheme, quantized_maps
from llmbench.kernels.w8a8 import W8A8Weight

from .dequantized import dequantized_weight
from .test_layerwise import quantize, same_maps
from .tiny import tiny_model, tokens


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
