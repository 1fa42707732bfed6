"""AWQ: 4-bit weights chosen by what the activations make of them, one layer after the other.

For each layer: find the scales of each input that lose least at the output of its block, fold
them into whatever produces that input, clip the groups, round to nearest. As in the reference
implementation, every layer is calibrated on the unquantised model's hidden states: the searches
of a layer are independent of its predecessors' error.

Source: Lin et al., "AWQ: Activation-aware Weight Quantization for LLM Compression and
Acceleration", MLSys 2024, and github.com/mit-han-lab/llm-awq.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from ...kernels.packing import PackedInt4, dequantize
from ..errors import ConfigError, ModelError
from ..models import dense as forward
from ..models.config import ModelConfig
from ..models.llama import DecoderLayer, decoder_layer
from ..models.ops import ModelOps, select_ops
from ..models.rope import RotaryTable
from .awq_search import (
    ScaleChoice,
    gram,
    gram_of_groups,
    linear_loss,
    search_clip,
    search_scales,
)
from .dense import DenseSource
from .grid import GridFormat, rtn_pack
from .quantized import LayerReport, QuantizedMap, QuantizedModel
from .scheme import Scheme

# Short names of a layer's linear maps, by the input they share.
QKV = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
O = "self_attn.o_proj"  # noqa: E741 -- the field's own name
GATE_UP = ("mlp.gate_proj", "mlp.up_proj")
DOWN = "mlp.down_proj"
LINEARS = (*QKV, O, *GATE_UP, DOWN)
# Clipping queries and keys hurts: their error is amplified by the softmax.
NEVER_CLIPPED = QKV[:2]

LayerTensors = dict[str, Tensor]
"""One layer's parameters in float32, by name without the layer's prefix: `mlp.up_proj.weight`."""


@dataclass(frozen=True)
class Calibrator:
    """What is the same for every layer: the model's shape and how to compute with it."""

    config: ModelConfig
    ops: ModelOps
    rotary: RotaryTable
    group_size: int
    device: torch.device


@dataclass(frozen=True, eq=False)
class Features:
    """A layer's activations on the calibration tokens, float32 [samples, length, …].

    The inputs of {q, k, v}, of o, of {gate, up} and of down.
    """

    attention: Tensor
    context: Tensor
    mlp: Tensor
    activation: Tensor


@torch.no_grad()
def quantize(
    config: ModelConfig,
    weights: Mapping[str, Tensor],
    calibration_token_ids: Tensor,
    *,
    group_size: int,
    device: torch.device | str = "cpu",
    progress: Callable[[int, int], None] | None = None,
) -> QuantizedModel:
    """Quantise every linear map of every layer; embeddings and output projection stay as they are.

    calibration_token_ids: int64 [samples, length]; about 4096 tokens in all are enough.
    progress: called with (layers done, layers) after each. Deterministic for a given number of
    threads. Holds one layer in float32 beside the activations of all calibration tokens.
    Raises ConfigError for a group size or tokens that do not fit the model, ModelError for
    weights that are not finite.
    """
    _check(config, calibration_token_ids, group_size)
    device = torch.device(device)
    calibrator = Calibrator(
        config,
        select_ops(device, torch.float32),
        RotaryTable(config, torch.float32, device, calibration_token_ids.shape[1]),
        group_size,
        device,
    )
    embedding = weights["model.embed_tokens.weight"]
    hidden = F.embedding(calibration_token_ids.to(embedding.device), embedding)
    hidden = hidden.to(device, torch.float32)
    dense = {name: weights[name] for name in weights if not _is_packed(name)}
    packed: dict[str, PackedInt4] = {}
    report: list[LayerReport] = []
    for index in range(config.num_layers):
        prefix = f"model.layers.{index}."
        tensors = {
            name.removeprefix(prefix): weights[name].to(device, torch.float32)
            for name in weights
            if name.startswith(prefix)
        }
        layer = _quantize_layer(calibrator, index, tensors, hidden)
        hidden = layer.hidden
        for name, tensor in layer.folded.items():
            original = weights[prefix + name]
            dense[prefix + name] = tensor.to(original.device, original.dtype)
        packed |= {prefix + name: weight.to("cpu") for name, weight in layer.packed.items()}
        report.append(layer.report)
        if progress is not None:
            progress(index + 1, config.num_layers)
    maps = {name: QuantizedMap(weight) for name, weight in packed.items()}
    scheme = Scheme("awq", 4, group_size, symmetric=False)
    return QuantizedModel(scheme, dense, maps, tuple(report))


@dataclass(frozen=True, eq=False)
class _QuantizedLayer:
    """hidden: the unquantised layer's output. folded: norms and biases that took up scales."""

    hidden: Tensor
    folded: LayerTensors
    packed: dict[str, PackedInt4]
    report: LayerReport


def _quantize_layer(
    calibrator: Calibrator, index: int, tensors: LayerTensors, hidden: Tensor
) -> _QuantizedLayer:
    layer = _decoder(calibrator, tensors)
    features = _features(calibrator, layer, hidden)
    choices = _search(calibrator, layer, tensors, features)
    scales = {name: choice.scales for name, choice in choices.items()}
    scaled = fold_scales(tensors, scales)
    clipped = clip_groups(scaled, features, scales, calibrator.group_size)

    packed, rounded = (
        {name: _pack(of[f"{name}.weight"], calibrator.group_size) for name in LINEARS}
        for of in (clipped, tensors)
    )
    expected = _output(calibrator, tensors, hidden)
    rtn_loss, loss = (
        float(F.mse_loss(_output(calibrator, {**rest, **_weights(codes)}, hidden), expected))
        for rest, codes in ((tensors, rounded), (clipped, packed))
    )
    if not math.isfinite(loss):
        raise ModelError(
            "model", f"layer {index}", "has weights or activations that are not finite"
        )
    ratios = {name: choice.ratio for name, choice in choices.items()}
    folded = {
        name: tensor
        for name, tensor in clipped.items()
        if name.removesuffix(".weight") not in LINEARS
    }
    return _QuantizedLayer(expected, folded, packed, LayerReport(index, rtn_loss, loss, ratios))


def _search(
    calibrator: Calibrator, layer: DecoderLayer, tensors: LayerTensors, features: Features
) -> dict[str, ScaleChoice]:
    """The best scales of each input, by the (first) module that reads it."""
    config, ops, rotary = calibrator.config, calibrator.ops, calibrator.rotary
    biases = DenseSource(tensors, torch.float32, calibrator.device)
    attention = forward.attention_block(features.attention, layer, rotary, config, ops)
    mlp = forward.mlp_block(features.mlp, layer, ops)

    def attention_loss(weight: Tensor) -> float:
        changed = replace(layer, qkv=biases.linear_of(weight, QKV))
        output = forward.attention_block(features.attention, changed, rotary, config, ops)
        return float(F.mse_loss(output, attention))

    def mlp_loss(weight: Tensor) -> float:
        changed = replace(layer, gate_up=biases.linear_of(weight, GATE_UP))
        return float(F.mse_loss(forward.mlp_block(features.mlp, changed, ops), mlp))

    def search(names: tuple[str, ...], x: Tensor, loss: Callable[[Tensor], float]) -> ScaleChoice:
        weight = torch.cat([tensors[f"{name}.weight"] for name in names])
        magnitude = x.abs().flatten(0, 1).mean(dim=0)
        return search_scales(weight, magnitude, calibrator.group_size, loss)

    def search_alone(name: str, x: Tensor) -> ScaleChoice:
        loss = linear_loss(tensors[f"{name}.weight"], gram(x.flatten(0, 1)))
        return search((name,), x, loss)

    choices = {
        QKV[0]: search(QKV, features.attention, attention_loss),
        GATE_UP[0]: search(GATE_UP, features.mlp, mlp_loss),
        DOWN: search_alone(DOWN, features.activation),
    }
    if config.num_kv_heads == config.num_heads:
        # With grouped heads one value feeds several inputs of o and cannot carry a scale for each.
        choices[O] = search_alone(O, features.context)
    return choices


def fold_scales(tensors: LayerTensors, scales: Mapping[str, Tensor]) -> LayerTensors:
    """The same function of the hidden state with each input divided, its weights multiplied.

    scales [in_features] by the module that reads the input; q and gate stand for those that share
    theirs. Whatever produces an input is divided: a norm's weight, v's rows for o, up's for down.
    """
    folded = dict(tensors)
    readers = {QKV[0]: QKV, O: (O,), GATE_UP[0]: GATE_UP, DOWN: (DOWN,)}
    producers = {
        QKV[0]: "input_layernorm",
        O: QKV[2],
        GATE_UP[0]: "post_attention_layernorm",
        DOWN: GATE_UP[1],
    }
    for name, scale in scales.items():
        for reader in readers[name]:
            folded[f"{reader}.weight"] = folded[f"{reader}.weight"] * scale
        producer = producers[name]
        weight = folded[f"{producer}.weight"]
        folded[f"{producer}.weight"] = weight / (scale if weight.ndim == 1 else scale[:, None])
        if f"{producer}.bias" in folded:
            folded[f"{producer}.bias"] = folded[f"{producer}.bias"] / scale
    return folded


def clip_groups(
    tensors: LayerTensors, features: Features, scales: Mapping[str, Tensor], group_size: int
) -> LayerTensors:
    """Scaled weights with their groups clipped, for inputs divided by `scales`."""
    clipped = dict(tensors)
    inputs = {
        QKV[0]: (QKV, features.attention),
        O: ((O,), features.context),
        GATE_UP[0]: (GATE_UP, features.mlp),
        DOWN: ((DOWN,), features.activation),
    }
    for name, (readers, x) in inputs.items():
        tokens = x.flatten(0, 1)
        if name in scales:
            tokens = tokens / scales[name]
        group_gram = gram_of_groups(tokens, group_size)
        for reader in readers:
            if reader not in NEVER_CLIPPED:
                weight = tensors[f"{reader}.weight"]
                clipped[f"{reader}.weight"] = search_clip(weight, group_gram, group_size)
    return clipped


def _features(calibrator: Calibrator, layer: DecoderLayer, hidden: Tensor) -> Features:
    config, ops = calibrator.config, calibrator.ops
    attention = ops.rms_norm(hidden, layer.input_norm, config.rms_norm_eps)
    context = forward.attention_context(attention, layer, calibrator.rotary, config, ops)
    after = hidden + layer.o(context)
    mlp = ops.rms_norm(after, layer.post_norm, config.rms_norm_eps)
    return Features(attention, context, mlp, forward.mlp_activation(mlp, layer, ops))


def _output(calibrator: Calibrator, tensors: LayerTensors, hidden: Tensor) -> Tensor:
    layer = _decoder(calibrator, tensors)
    return forward.decoder_block(
        hidden, layer, calibrator.rotary, calibrator.config, calibrator.ops
    )


def _decoder(calibrator: Calibrator, tensors: LayerTensors) -> DecoderLayer:
    named = {f"model.layers.0.{name}": tensor for name, tensor in tensors.items()}
    source = DenseSource(named, torch.float32, calibrator.device)
    return decoder_layer(calibrator.config, source, 0)


def _pack(weight: Tensor, group_size: int) -> PackedInt4:
    packed = rtn_pack(weight, GridFormat(4, group_size))
    assert isinstance(packed, PackedInt4)
    return packed


def _weights(packed: Mapping[str, PackedInt4]) -> LayerTensors:
    return {f"{name}.weight": dequantize(weight) for name, weight in packed.items()}


def _is_packed(name: str) -> bool:
    return name.startswith("model.layers.") and name.endswith(
        tuple(f"{linear}.weight" for linear in LINEARS)
    )


def _check(config: ModelConfig, token_ids: Tensor, group_size: int) -> None:
    for field in ("hidden_size", "q_size", "intermediate_size"):
        size = getattr(config, field)
        if group_size < 2 or size % group_size:
            raise ConfigError("group_size", group_size, f"a divisor of {field} {size}")
    if token_ids.ndim != 2 or token_ids.numel() == 0:
        raise ConfigError(
            "calibration_token_ids", list(token_ids.shape), "[samples, length], not empty"
        )
    if int(token_ids.min()) < 0 or int(token_ids.max()) >= config.vocab_size:
        raise ConfigError(
            "calibration_token_ids", int(token_ids.max()), f"token ids below {config.vocab_size}"
        )
