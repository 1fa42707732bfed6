"""A model quantised by any method: rounded map by map, or layer by layer as calibration shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from ..models.config import ModelConfig
from .awq import Awq
from .fp8_static import Fp8Static
from .gptq import Gptq
from .layerwise import LayerMethod, Progress, quantize_layers
from .methods import find_method
from .quantized import LayerReport, QuantizedModel, Unquantized
from .resume import LayerStore
from .rounding import RoundedMaps
from .scheme import Scheme, quantized_maps
from .smoothquant import SmoothQuant

LAYER_METHODS: dict[str, Callable[[], LayerMethod]] = {
    "gptq": Gptq,
    "awq": Awq,
    "smoothquant": SmoothQuant,
    "fp8-static": Fp8Static,
}


def _nothing(_report: LayerReport, _layers: int) -> None: ...


def quantize_model(
    config: ModelConfig,
    weights: Mapping[str, Tensor],
    scheme: Scheme,
    calibration: Tensor | None = None,
    *,
    device: torch.device | str = "cpu",
    progress: Progress = _nothing,
    store: LayerStore | None = None,
) -> QuantizedModel:
    """The linear maps of every layer quantised as `scheme` says; the rest stays as it is.

    calibration: windows of token ids, int64 [samples, length], for a method that is calibrated.
    Maps of the others are rounded as they are asked for. progress, store: see `quantize_layers`,
    whose errors are raised.
    """
    device = torch.device(device)
    if not find_method(scheme.method).calibrated:
        maps = RoundedMaps(weights, quantized_maps(config), scheme, device)
        return QuantizedModel(scheme, Unquantized.beside(weights, maps), maps)
    assert calibration is not None
    method = LAYER_METHODS[scheme.method]()
    return quantize_layers(
        config,
        weights,
        calibration,
        method,
        scheme,
        device=device,
        progress=progress,
        store=store,
    )
