"""SmoothQuant: outliers of activations moved into the weights, then eight bits for both.

Source: Xiao et al., "SmoothQuant: Accurate and Efficient Post-Training Quantization for Large
Language Models", 2023, eq. 4, with alpha 0.5. As in its reference code, the inputs of {q, k, v} and
{gate, up} are smoothed, whose producers are norms, and those of o and down are left as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .folding import changed_parameters, fold_scales
from .layer import GATE_UP, LINEARS, QKV, CalibratedLayer, QuantizedLayer, input_magnitudes
from .rounding import round_map

ALPHA = 0.5
# A feature that is never active, or never read, must not be divided by nothing.
_LEAST = 1e-5


@dataclass(frozen=True)
class SmoothQuant:
    """`LayerMethod`."""

    alpha: float = ALPHA

    @property
    def follows_quantized(self) -> bool:
        return False

    def quantize(self, layer: CalibratedLayer) -> QuantizedLayer:
        magnitudes = input_magnitudes(layer)
        scales: Mapping[str, Tensor] = {
            readers[0]: smoothing_scales(magnitudes[readers[0]], layer.stacked(readers), self.alpha)
            for readers in (QKV, GATE_UP)
        }
        smoothed = fold_scales(layer.tensors, scales)
        w8a8 = replace(layer.runner.scheme, method="w8a8")
        maps = {name: round_map(name, smoothed[f"{name}.weight"], w8a8) for name in LINEARS}
        ratios = dict.fromkeys(scales, self.alpha)
        return QuantizedLayer(maps, changed_parameters(layer.tensors, smoothed), ratios)


def smoothing_scales(input_magnitude: Tensor, weight: Tensor, alpha: float) -> Tensor:
    """s = max |x|^α / max |w|^(1 - α) of each input feature: [in_features].

    input_magnitude [in_features]; weight [out_features, in_features], of all that read the input.
    """
    of_weights = weight.abs().amax(dim=0).clamp(min=_LEAST)
    scales = input_magnitude.clamp(min=_LEAST).pow(alpha) / of_weights.pow(1 - alpha)
    return torch.clamp(scales, min=_LEAST)
