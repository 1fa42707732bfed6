"""One decoder layer as calibration sees it: its parts by name, what goes into them, what comes out.

Everything is computed in float32, batch by batch, so that beside the hidden states no more than
one batch's activations are held.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...kernels.grouped_int8 import GroupedInt8, dequantize_grouped
from ...kernels.int4 import PackedInt4, dequantize_int4
from ..models import dense as forward
from ..models.config import LAYERS, ModelConfig
from ..models.llama import DecoderLayer, decoder_layer
from ..models.ops import ModelOps, select_ops
from ..models.rope import RotaryTable
from .quantized import PackedSource, QuantizedMap, QuantizedModel
from .scheme import Scheme

# Short names of a layer's linear maps, by the input they share.
QKV = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
O = "self_attn.o_proj"  # noqa: E741 -- the field's own name
GATE_UP = ("mlp.gate_proj", "mlp.up_proj")
DOWN = "mlp.down_proj"
LINEARS = (*QKV, O, *GATE_UP, DOWN)

LayerTensors = dict[str, Tensor]
"""One layer's parameters in float32, by name without the layer's prefix: `mlp.up_proj.weight`."""

LayerMaps = dict[str, QuantizedMap]
"""One layer's quantised maps, by name without the layer's prefix: `mlp.up_proj`."""


@dataclass(frozen=True, eq=False)
class Features:
    """A layer's activations on the calibration tokens, float32 [samples, length, …].

    The inputs of {q, k, v}, of o, of {gate, up} and of down.
    """

    attention: Tensor
    context: Tensor
    mlp: Tensor
    activation: Tensor

    def by_readers(self) -> Iterator[tuple[tuple[str, ...], Tensor]]:
        """The maps that share an input, and that input."""
        yield QKV, self.attention
        yield (O,), self.context
        yield GATE_UP, self.mlp
        yield (DOWN,), self.activation


@dataclass(frozen=True)
class LayerRunner:
    """How to compute with any layer of one model, on windows of up to `length` tokens."""

    config: ModelConfig
    scheme: Scheme
    ops: ModelOps
    rotary: RotaryTable
    device: torch.device

    @classmethod
    def of(
        cls, config: ModelConfig, scheme: Scheme, length: int, device: torch.device
    ) -> LayerRunner:
        rotary = RotaryTable(config, torch.float32, device, length)
        return cls(config, scheme, select_ops(device, torch.float32), rotary, device)

    def decoder(self, tensors: LayerTensors, maps: Mapping[str, QuantizedMap]) -> DecoderLayer:
        """The layer with `maps` in place of those weights of `tensors`.

        Where only weights are quantised, the product is the plain one; where activations are, too,
        it is the method's own operation, for its rounding is part of the loss.
        """
        widened = {
            f"{name}.weight": dense_weight(map_)
            for name, map_ in maps.items()
            if isinstance(map_.weight, PackedInt4 | GroupedInt8)
        }
        packed = {name: map_ for name, map_ in maps.items() if f"{name}.weight" not in widened}
        prefix = f"{LAYERS}0."
        model = QuantizedModel(
            self.scheme,
            {prefix + name: tensor for name, tensor in {**tensors, **widened}.items()},
            {prefix + name: map_ for name, map_ in packed.items()},
        )
        return decoder_layer(self.config, PackedSource(model, torch.float32, self.device), 0)

    def features(self, layer: DecoderLayer, hidden: Tensor) -> Features:
        """What goes into each of the layer's maps; hidden [samples, length, hidden_size]."""
        attention = self.attention_input(layer, hidden)
        context = forward.attention_context(attention, layer, self.rotary, self.config, self.ops)
        mlp = self.mlp_input(layer, hidden + layer.o(context))
        return Features(attention, context, mlp, forward.mlp_activation(mlp, layer, self.ops))

    def attention_input(self, layer: DecoderLayer, hidden: Tensor) -> Tensor:
        return self.ops.rms_norm(hidden, layer.input_norm, self.config.rms_norm_eps)

    def mlp_input(self, layer: DecoderLayer, after_attention: Tensor) -> Tensor:
        return self.ops.rms_norm(after_attention, layer.post_norm, self.config.rms_norm_eps)

    def output(self, layer: DecoderLayer, hidden: Tensor) -> Tensor:
        """The next layer's hidden states."""
        return forward.decoder_block(hidden, layer, self.rotary, self.config, self.ops)


@dataclass(frozen=True, eq=False)
class CalibratedLayer:
    """A layer to quantise, and the hidden states that come into it.

    hidden: batches of windows, float32 [samples, length, hidden_size] each.
    """

    index: int
    tensors: LayerTensors
    hidden: Sequence[Tensor]
    runner: LayerRunner

    def features(self) -> Iterator[Features]:
        """Of the unquantised layer, a batch at a time."""
        layer = self.runner.decoder(self.tensors, {})
        for batch in self.hidden:
            yield self.runner.features(layer, batch)

    def stacked(self, names: Sequence[str]) -> Tensor:
        """The weights of maps that share an input, along out_features."""
        return torch.cat([self.tensors[f"{name}.weight"] for name in names])


@dataclass(frozen=True, eq=False)
class QuantizedLayer:
    """maps: every linear map of the layer. folded: norms, biases and whatever else of the layer's
    parameters took up scales, float32. ratios, note: see `LayerReport`."""

    maps: LayerMaps
    folded: LayerTensors
    ratios: Mapping[str, float | None]
    note: str = ""


def input_magnitudes(layer: CalibratedLayer) -> dict[str, Tensor]:
    """The largest |x| of each input feature over the calibration tokens, [in_features], by the
    (first) map that reads it."""
    largest: dict[str, Tensor] = {}
    for features in layer.features():
        for readers, x in features.by_readers():
            found = x.abs().flatten(0, -2).amax(dim=0)
            before = largest.get(readers[0])
            largest[readers[0]] = found if before is None else torch.maximum(before, found)
    return largest


def dense_weight(map_: QuantizedMap) -> Tensor:
    """What a map's integer codes stand for, float32 [out_features, in_features]."""
    assert map_.order is None
    if isinstance(map_.weight, PackedInt4):
        return dequantize_int4(map_.weight)
    assert isinstance(map_.weight, GroupedInt8)
    return dequantize_grouped(map_.weight)
