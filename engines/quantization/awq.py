"""AWQ: 4-bit weights chosen by what the activations make of them.

For each layer: find the scales of each input that lose least at the output of its block, fold
them into whatever produces that input, clip the groups, round to nearest. As in the reference
implementation, every layer is calibrated on the unquantised model's hidden states: the searches
of a layer are independent of its predecessors' error.

Source: Lin et al., "AWQ: Activation-aware Weight Quantization for LLM Compression and
Acceleration", MLSys 2024, and github.com/mit-han-lab/llm-awq.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from ..models import dense as forward
from .awq_search import (
    ScaleChoice,
    gram,
    gram_of_groups,
    linear_loss,
    search_clip,
    search_scales,
)
from .dense import DenseSource
from .folding import changed_parameters, fold_scales
from .grid import GridFormat
from .layer import (
    DOWN,
    GATE_UP,
    LINEARS,
    QKV,
    CalibratedLayer,
    Features,
    LayerTensors,
    O,
    QuantizedLayer,
)
from .rounding import round_map

# Clipping queries and keys hurts: their error is amplified by the softmax.
NEVER_CLIPPED = QKV[:2]


@dataclass(frozen=True)
class Awq:
    """`LayerMethod`. The searches hold the features of all calibration tokens."""

    @property
    def follows_quantized(self) -> bool:
        return False

    def quantize(self, layer: CalibratedLayer) -> QuantizedLayer:
        features, scheme = _all_features(layer), layer.runner.scheme
        choices = _search(layer, features)
        scales = {name: choice.scales for name, choice in choices.items()}
        scaled = fold_scales(layer.tensors, scales)
        clipped = clip_groups(scaled, features, scales, scheme.grid)
        rtn = replace(scheme, method="rtn")
        maps = {name: round_map(name, clipped[f"{name}.weight"], rtn) for name in LINEARS}
        ratios = {name: choice.ratio for name, choice in choices.items()}
        return QuantizedLayer(maps, changed_parameters(layer.tensors, scaled), ratios)


def _all_features(layer: CalibratedLayer) -> Features:
    batches = list(layer.features())
    if len(batches) == 1:
        return batches[0]
    names = [field.name for field in fields(Features)]
    return Features(*(torch.cat([getattr(batch, name) for batch in batches]) for name in names))


def _search(calibrated: CalibratedLayer, features: Features) -> dict[str, ScaleChoice]:
    """The best scales of each input, by the (first) module that reads it."""
    runner, tensors = calibrated.runner, calibrated.tensors
    config, ops, rotary = runner.config, runner.ops, runner.rotary
    format = runner.scheme.grid
    layer = runner.decoder(tensors, {})
    biases = DenseSource(tensors, torch.float32, runner.device)
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
        magnitude = x.abs().flatten(0, 1).mean(dim=0)
        return search_scales(calibrated.stacked(names), magnitude, format, loss)

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


def clip_groups(
    tensors: LayerTensors, features: Features, scales: Mapping[str, Tensor], format: GridFormat
) -> LayerTensors:
    """Scaled weights with their groups clipped, for inputs divided by `scales`."""
    clipped = dict(tensors)
    for readers, x in features.by_readers():
        tokens = x.flatten(0, 1)
        if readers[0] in scales:
            tokens = tokens / scales[readers[0]]
        group_gram = gram_of_groups(tokens, format.group_size)
        for reader in readers:
            if reader not in NEVER_CLIPPED:
                weight = tensors[f"{reader}.weight"]
                clipped[f"{reader}.weight"] = search_clip(weight, group_gram, format)
    return clipped
