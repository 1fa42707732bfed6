"""Methods that look at nothing but the weight: rounded one map at a time as it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ...kernels.registry import KernelError
from ..errors import ModelError
from ..models.config import ModelConfig
from .finite import check_finite
from .fp4 import round_to_fp4
from .fp8 import round_to_fp8
from .int8 import round_to_int8
from .lazy import Lazy
from .quantized import PackedWeight, QuantizedMap, QuantizedModel
from .rtn import round_to_nearest
from .scheme import Scheme, default_scheme, head_of, quantized_maps
from .w8a8 import round_to_w8a8

Round = Callable[[Tensor, Scheme], PackedWeight]

ROUND: dict[str, Round] = {
    "rtn": round_to_nearest,
    "int8": round_to_int8,
    "w8a8": round_to_w8a8,
    "fp8": round_to_fp8,
    "fp8-block": round_to_fp8,
    "nvfp4": round_to_fp4,
    "mxfp4": round_to_fp4,
}


class RoundedMaps(Lazy[QuantizedMap]):
    """Modules `names` of a checkpoint, each rounded when it is asked for, on `device`; from the
    checkpoint's own precision, whatever the activations'.

    Raises ModelError for weights that are not finite or that the method cannot take.
    """

    def __init__(
        self,
        weights: Mapping[str, Tensor],
        names: Sequence[str],
        scheme: Scheme,
        device: torch.device,
    ) -> None:
        super().__init__(names)
        self._weights = weights
        self._scheme = scheme
        self._device = device

    def make(self, name: str) -> QuantizedMap:
        weight = check_finite(f"{name}.weight", self._weights[f"{name}.weight"].to(self._device))
        return round_map(name, weight, self._scheme)


class _Together(Lazy[QuantizedMap]):
    """Maps from two places, each still made or read only when it is asked for."""

    def __init__(
        self, first: Mapping[str, QuantizedMap], second: Mapping[str, QuantizedMap]
    ) -> None:
        super().__init__((*first, *second))
        self._first = first
        self._second = second

    def make(self, name: str) -> QuantizedMap:
        return self._second[name] if name in self._second else self._first[name]


def rounded_model(
    config: ModelConfig,
    weights: Mapping[str, Tensor],
    method: str,
    group_size: int | None,
    device: torch.device,
) -> QuantizedModel:
    """A model whose layers' maps are rounded as they are asked for, by a method that calibrates
    nothing."""
    scheme = default_scheme(config, method, group_size)
    maps = RoundedMaps(weights, quantized_maps(config), scheme, device)
    return QuantizedModel(scheme, weights, maps)


def plain_model(weights: Mapping[str, Tensor]) -> QuantizedModel:
    """A model none of whose maps is quantised."""
    return QuantizedModel(Scheme("none", bits=16), weights, {})


def with_rounded_head(
    config: ModelConfig, model: QuantizedModel, method: str, device: torch.device
) -> QuantizedModel:
    """The model with its output projection rounded, too; `none`: as it is."""
    if method == "none":
        return model
    scheme = default_scheme(config, method)
    head = RoundedMaps(model.dense, (head_of(config),), scheme, device)
    return replace(model, maps=_Together(model.maps, head))


def round_map(name: str, weight: Tensor, scheme: Scheme) -> QuantizedMap:
    """One map by a method of ROUND. Raises ModelError, naming it, where the method cannot."""
    try:
        return QuantizedMap(ROUND[scheme.method](weight, scheme))
    except KernelError as error:
        raise ModelError("model", name, f"cannot be quantised: {error}") from error
