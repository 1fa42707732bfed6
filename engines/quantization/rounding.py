"""Methods that look at nothing but the weight: rounded one map at a time as it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from ...kernels.registry import KernelError
from ..errors import ModelError
from ..models.config import ModelConfig
from .finite import check_finite
from .fp4 import round_to_fp4
from .fp8 import round_to_fp8
from .int8 import round_to_int8
from .layer import GATE_UP, QKV
from .lazy import Lazy
from .quantized import PackedWeight, QuantizedMap, QuantizedModel, Unquantized
from .rtn import round_to_nearest
from .scheme import Scheme, default_scheme, quantized_maps
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
    checkpoint's own precision, whatever the activations'. NVFP4's factor is one for {q, k, v} and
    one for {gate, up}: vLLM and SGLang run each as one map and keep a single factor of theirs, as
    llm-compressor's `update_fused_layer_weight_global_scales` writes them.

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
        self._magnitudes: dict[tuple[str, ...], Tensor] = {}

    def make(self, name: str) -> QuantizedMap:
        magnitude = self._magnitude(_fused(name)) if self._scheme.method == "nvfp4" else None
        return round_map(name, self._weight(name), self._scheme, magnitude)

    def _weight(self, name: str) -> Tensor:
        return check_finite(f"{name}.weight", self._weights[f"{name}.weight"].to(self._device))

    def _magnitude(self, names: tuple[str, ...]) -> Tensor:
        """The largest |weight| of maps that share a factor; each is read once for it."""
        if names not in self._magnitudes:
            each = [self._weight(name).abs().max().float() for name in names]
            self._magnitudes[names] = torch.stack(each).max()
        return self._magnitudes[names]


def _fused(name: str) -> tuple[str, ...]:
    """The maps that engines run as one with a map, that one among them."""
    for group in (QKV, GATE_UP):
        for one in group:
            if name.endswith(f".{one}"):
                return tuple(name.removesuffix(one) + other for other in group)
    return (name,)


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
    return QuantizedModel(scheme, Unquantized.beside(weights, maps), maps)


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
    head = RoundedMaps(model.dense, (config.head_name,), scheme, device)
    return replace(model, maps=_Together(model.maps, head))


def round_map(
    name: str, weight: Tensor, scheme: Scheme, magnitude: Tensor | None = None
) -> QuantizedMap:
    """One map by a method of ROUND. magnitude: see `round_to_fp4`, for a method that it is of.
    Raises ModelError, naming the map, where the method cannot."""
    by_itself = ROUND[scheme.method]
    round_ = by_itself if magnitude is None else partial(round_to_fp4, magnitude=magnitude)
    try:
        return QuantizedMap(round_(weight, scheme))
    except KernelError as error:
        raise ModelError("model", name, f"cannot be quantised: {error}") from error
