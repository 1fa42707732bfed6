"""Static FP8: a scale a tensor, and one for its input that was found in calibration.

Nothing is measured of a token at run time; values beyond what calibration saw become the largest.
Sources: compressed-tensors' `FP8` preset (tensor, static); Micikevicius et al., "FP8 Formats for
Deep Learning", 2022, section 3.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ...kernels.fp8 import e4m3_scales
from .fp8 import round_to_fp8
from .layer import DOWN, GATE_UP, QKV, CalibratedLayer, O, QuantizedLayer, input_magnitudes
from .quantized import QuantizedMap


@dataclass(frozen=True)
class Fp8Static:
    """`LayerMethod`. Maps of one input share its scale, so that one kernel takes them together."""

    @property
    def follows_quantized(self) -> bool:
        return False

    def quantize(self, layer: CalibratedLayer) -> QuantizedLayer:
        magnitudes = input_magnitudes(layer)
        maps: dict[str, QuantizedMap] = {}
        for readers in (QKV, (O,), GATE_UP, (DOWN,)):
            input_scale = e4m3_scales(magnitudes[readers[0]].max())
            for name in readers:
                weight = round_to_fp8(layer.tensors[f"{name}.weight"], layer.runner.scheme)
                maps[name] = QuantizedMap(replace(weight, input_scale=input_scale.clone()))
        return QuantizedLayer(maps, {}, {})
