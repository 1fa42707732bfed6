"""Random weights in the form of any method, made on the device: a model's speed without its
checkpoint.

What a weight is worth changes no kernel's work, so shapes and dtypes are all that must be right;
values are small enough for logits to stay finite. Every weight depends on its name and a seed
alone, whatever is asked for first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from hashlib import blake2b

import torch
from torch import Tensor

from ...kernels.fp8 import e4m3_scales
from ...kernels.int4 import PackedInt4
from ..models.config import ModelConfig
from .fp8 import round_to_fp8
from .grid import held_group_size
from .lazy import Lazy
from .linear import WeightSource
from .methods import find_method, head_method
from .quantized import PackedSource, QuantizedMap, QuantizedModel, Unquantized
from .rounding import plain_model, rounded_model, with_rounded_head
from .scheme import Scheme, default_scheme

SEED = 0
STD = 0.02  # what the models of this family are initialised with
LARGEST_INPUT = 8.0  # of a static scale: after a norm, features are of about 1
# Standard deviation of a code drawn evenly from 0 to 15.
_CODE_STD = (255 / 12) ** 0.5


class DummyWeights(Lazy[Tensor]):
    """Parameters by name, each drawn when it is asked for, in one dtype on one device: norms are
    ones, biases zeros, the rest is normal around 0 with a standard deviation of `STD`."""

    def __init__(
        self, config: ModelConfig, dtype: torch.dtype, device: torch.device, seed: int = SEED
    ) -> None:
        self.dtype = dtype
        self.device = device
        self.shapes = config.parameter_shapes()
        self.maps = config.map_shapes()
        super().__init__(self.shapes)
        self._seed = seed

    def make(self, name: str) -> Tensor:
        shape = self.shapes[name]
        if name.endswith("norm.weight"):
            return torch.ones(shape, dtype=self.dtype, device=self.device)
        tensor = torch.zeros(shape, dtype=self.dtype, device=self.device)
        if name.endswith(".bias"):
            return tensor
        return tensor.normal_(0.0, STD, generator=self.generator(name))

    def generator(self, name: str) -> torch.Generator:
        """The random stream of a parameter."""
        digest = blake2b(f"{self._seed} {name}".encode(), digest_size=7).digest()
        return torch.Generator(self.device).manual_seed(int.from_bytes(digest))


class DummyInt4(Lazy[QuantizedMap]):
    """The linear maps of a model's layers as 4-bit codes, all of them equally likely."""

    def __init__(self, weights: DummyWeights, group_size: int) -> None:
        self._weights = weights
        self._group_size = group_size
        super().__init__(weights.maps)

    def make(self, name: str) -> QuantizedMap:
        outputs, inputs = self._weights.maps[name]
        generator, device = self._weights.generator(name), self._weights.device
        nibbles = torch.randint(
            0, 256, (outputs, inputs // 2), generator=generator, device=device, dtype=torch.uint8
        )
        group_size = held_group_size(inputs, self._group_size)
        groups = (outputs, inputs // group_size)
        scales = torch.full(groups, STD / _CODE_STD, dtype=self._weights.dtype, device=device)
        zeros = torch.full(groups, 8, dtype=torch.uint8, device=device)
        return QuantizedMap(PackedInt4(nibbles, scales, zeros, group_size))


class DummyStaticFp8(Lazy[QuantizedMap]):
    """The linear maps of a model's layers in static FP8: a scale a tensor, and one of the inputs,
    the same for all, as if calibration had seen `LARGEST_INPUT` everywhere."""

    def __init__(self, weights: DummyWeights, scheme: Scheme) -> None:
        self._weights = weights
        self._scheme = scheme
        super().__init__(weights.maps)

    def make(self, name: str) -> QuantizedMap:
        weight = round_to_fp8(self._weights[f"{name}.weight"], self._scheme)
        largest = torch.tensor(LARGEST_INPUT, device=self._weights.device)
        return QuantizedMap(replace(weight, input_scale=e4m3_scales(largest)))


def dummy_source(
    config: ModelConfig,
    method: str,
    *,
    group_size: int | None,
    head: str = "auto",
    activations: str = "auto",
    dtype: torch.dtype,
    device: torch.device,
    force: Mapping[str, str] | None = None,
) -> WeightSource:
    """Random weights for `method`: for one that rounds, a rounded checkpoint; for one that
    calibrates, codes of its form. head: how the output projection is rounded, one of HEADS.
    activations: one of ACTIVATIONS. force: operation -> implementation, for the linear maps.

    Raises ConfigError for an unknown method."""
    weights = DummyWeights(config, dtype, device)
    model = _dummy_model(config, weights, method, group_size)
    model = with_rounded_head(config, model, head_method(method, head), device)
    return PackedSource(model, dtype, device, force, activations)


def _dummy_model(
    config: ModelConfig, weights: DummyWeights, method: str, group_size: int | None
) -> QuantizedModel:
    if method == "none":  # what `auto` is where no checkpoint is read
        return plain_model(weights)
    found = find_method(method)
    if (found.calibrated or found.published) and found.form == "int4":
        assert group_size is not None
        scheme = default_scheme(config, method, group_size)
        maps = DummyInt4(weights, group_size)
    elif method == "fp8-static":
        scheme = default_scheme(config, method)
        maps = DummyStaticFp8(weights, scheme)
    else:
        rounded = "w8a8" if method == "smoothquant" else method
        return rounded_model(config, weights, rounded, group_size, weights.device)
    return QuantizedModel(scheme, Unquantized.beside(weights, maps), maps)
