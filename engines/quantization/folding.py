"""Scales of input features, moved into whatever produces them: the function stays what it was."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from .layer import DOWN, GATE_UP, QKV, LayerTensors, O

_READERS = {QKV[0]: QKV, O: (O,), GATE_UP[0]: GATE_UP, DOWN: (DOWN,)}
_PRODUCER = {
    QKV[0]: "input_layernorm",
    O: QKV[2],
    GATE_UP[0]: "post_attention_layernorm",
    DOWN: GATE_UP[1],
}


def fold_scales(tensors: LayerTensors, scales: Mapping[str, Tensor]) -> LayerTensors:
    """The same function of the hidden state with each input divided, its weights multiplied.

    scales [in_features] by the module that reads the input; q and gate stand for those that share
    theirs. Whatever produces an input is divided: a norm's weight, v's rows for o, up's for down.
    """
    folded = dict(tensors)
    for name, scale in scales.items():
        for reader in _READERS[name]:
            folded[f"{reader}.weight"] = folded[f"{reader}.weight"] * scale
        producer = _PRODUCER[name]
        weight = folded[f"{producer}.weight"]
        folded[f"{producer}.weight"] = weight / (scale if weight.ndim == 1 else scale[:, None])
        if f"{producer}.bias" in folded:
            folded[f"{producer}.bias"] = folded[f"{producer}.bias"] / scale
    return folded


def changed_parameters(before: LayerTensors, after: LayerTensors) -> LayerTensors:
    """The norms and biases that `fold_scales` made anew; weights of linear maps are quantised."""
    return {
        name: tensor
        for name, tensor in after.items()
        if tensor is not before[name] and not name.endswith("_proj.weight")
    }
