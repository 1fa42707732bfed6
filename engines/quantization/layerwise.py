"""Methods that look at activations, one decoder layer after the other.

Calibration tokens are embedded, then for each layer: the method quantises it from what comes into
it, its loss is taken beside that of rounding alone, and the hidden states move on. In memory are
one layer in float32, the hidden states of all calibration tokens and one batch's activations; and
what a method needs: GPTQ a second copy of the hidden states and three square matrices of its
widest input in float32 (`gptq_solve.py`), AWQ a layer's features of all tokens.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import ConfigError, ModelError
from ..models.config import LAYERS, ModelConfig
from .finite import check_finite
from .layer import (
    LINEARS,
    CalibratedLayer,
    LayerMaps,
    LayerRunner,
    LayerTensors,
    QuantizedLayer,
)
from .methods import find_method
from .quantized import LayerReport, QuantizedMap, QuantizedModel, Unquantized
from .resume import FinishedMaps, LayerStore, StoredLayer
from .rounding import round_map
from .scheme import Scheme, quantized_maps

# Tokens that go through a layer at once; losses are taken on the first of these batches.
BATCH_TOKENS = 4096

Progress = Callable[[LayerReport, int], None]
"""Called after each layer with its report and the number of layers."""


class LayerMethod(Protocol):
    """How one layer is quantised.

    follows_quantized: whether the next layer's calibration sees this one quantised, as it will
    when the model runs, or as it was.
    """

    @property
    def follows_quantized(self) -> bool: ...

    def quantize(self, layer: CalibratedLayer) -> QuantizedLayer: ...


@torch.no_grad()
def quantize_layers(
    config: ModelConfig,
    weights: Mapping[str, Tensor],
    token_ids: Tensor,
    method: LayerMethod,
    scheme: Scheme,
    *,
    device: torch.device,
    progress: Progress,
    store: LayerStore | None,
) -> QuantizedModel:
    """Quantise every linear map of every layer; embeddings and output projection stay as they are.

    token_ids: calibration windows, int64 [samples, length].
    store: where finished layers are kept, and the model's maps read from as they are asked for;
    layers that it has already are not made again. None: all of them stay in memory.
    Deterministic for a given number of threads, whether or not it was interrupted.
    Raises ConfigError for tokens that do not fit the model, ModelError for weights or activations
    that are not finite.
    """
    _check_tokens(config, token_ids)
    for name in weights:  # before the work, not after most of it
        check_finite(name, weights[name])
    runner = LayerRunner.of(config, scheme, token_ids.shape[1], device)
    hidden = _embed(weights["model.embed_tokens.weight"], token_ids, device)
    names = quantized_maps(config)
    dense = Unquantized.beside(weights, names)
    maps: dict[str, QuantizedMap] = {}
    report: list[LayerReport] = []
    for index in range(config.num_layers):
        prefix = f"{LAYERS}{index}."
        tensors = _layer_tensors(weights, prefix, device)
        stored = None if store is None else store.resume(index)
        if stored is None:
            stored = _quantize_layer(CalibratedLayer(index, tensors, hidden, runner), method)
            if store is not None:
                store.save(stored)
        for name, tensor in stored.folded.items():
            original = weights[prefix + name]
            dense.replace(prefix + name, tensor.to(original.device, original.dtype))
        if store is None:
            maps |= {prefix + name: map_ for name, map_ in stored.maps.items()}
        report.append(stored.report)
        if index + 1 < config.num_layers:
            _advance(hidden, tensors, stored if method.follows_quantized else None, runner)
        progress(stored.report, config.num_layers)
    finished = maps if store is None else FinishedMaps(store, names)
    return QuantizedModel(scheme, dense, finished, tuple(report))


def _quantize_layer(layer: CalibratedLayer, method: LayerMethod) -> StoredLayer:
    made = method.quantize(layer)
    runner, hidden = layer.runner, layer.hidden[0]
    expected = runner.output(runner.decoder(layer.tensors, {}), hidden)
    rounded = _rounded(layer.tensors, runner.scheme)
    rtn_loss, loss = (
        float(F.mse_loss(runner.output(runner.decoder(tensors, maps), hidden), expected))
        for tensors, maps in (
            (layer.tensors, rounded),
            ({**layer.tensors, **made.folded}, made.maps),
        )
    )
    if not math.isfinite(loss):
        raise ModelError("model", f"layer {layer.index}", "has activations that are not finite")
    maps = {
        name: QuantizedMap(map_.weight.to("cpu"), map_.order) for name, map_ in made.maps.items()
    }
    report = LayerReport(layer.index, rtn_loss, loss, made.ratios, made.note)
    return StoredLayer(maps, {name: t.cpu() for name, t in made.folded.items()}, report)


def _rounded(tensors: LayerTensors, scheme: Scheme) -> LayerMaps:
    """What the method's loss is held against."""
    baseline = replace(scheme, method=find_method(scheme.method).baseline)
    return {name: round_map(name, tensors[f"{name}.weight"], baseline) for name in LINEARS}


def _advance(
    hidden: list[Tensor], tensors: LayerTensors, quantized: StoredLayer | None, runner: LayerRunner
) -> None:
    """Each batch through the layer, in place; quantized None: as it was."""
    if quantized is None:
        layer = runner.decoder(tensors, {})
    else:
        folded = {name: tensor.to(runner.device) for name, tensor in quantized.folded.items()}
        layer = runner.decoder({**tensors, **folded}, quantized.maps)
    for position, batch in enumerate(hidden):
        hidden[position] = runner.output(layer, batch)


def _embed(embedding: Tensor, token_ids: Tensor, device: torch.device) -> list[Tensor]:
    windows = max(1, BATCH_TOKENS // token_ids.shape[1])
    return [
        F.embedding(batch.to(embedding.device), embedding).to(device, torch.float32)
        for batch in token_ids.split(windows)
    ]


def _layer_tensors(
    weights: Mapping[str, Tensor], prefix: str, device: torch.device
) -> LayerTensors:
    return {
        name.removeprefix(prefix): weights[name].to(device, torch.float32)
        for name in weights
        if name.startswith(prefix)
    }


def _check_tokens(config: ModelConfig, token_ids: Tensor) -> None:
    if token_ids.ndim != 2 or token_ids.numel() == 0:
        shape = list(token_ids.shape)
        raise ConfigError("calibration_token_ids", shape, "[samples, length], not empty")
    if int(token_ids.min()) < 0 or int(token_ids.max()) >= config.vocab_size:
        allowed = f"token ids below {config.vocab_size}"
        raise ConfigError("calibration_token_ids", int(token_ids.max()), allowed)
