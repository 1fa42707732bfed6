"""A model whose linear maps are quantised, and how an engine runs it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ...kernels.decoder import LinearMap
from ...kernels.fp4 import Fp4Weight, stack_fp4
from ...kernels.fp8 import Fp8Weight, stack_fp8
from ...kernels.grouped_int8 import GroupedInt8, stack_grouped
from ...kernels.int4 import PackedInt4, stack_int4
from ...kernels.registry import KernelError, select
from ...kernels.w8a8 import W8A8Weight, stack_w8a8
from ..errors import ConfigError
from .dense import DenseSource
from .lazy import Lazy
from .methods import op_of
from .scheme import Scheme

PackedWeight = PackedInt4 | GroupedInt8 | W8A8Weight | Fp8Weight | Fp4Weight

# By form, a key of FORMS: what its weights are packed in, and what stacks several along
# out_features.
PACKED: dict[str, tuple[type[PackedWeight], Callable[[Any], PackedWeight]]] = {
    "int4": (PackedInt4, stack_int4),
    "int8": (GroupedInt8, stack_grouped),
    "w8a8": (W8A8Weight, stack_w8a8),
    "fp8": (Fp8Weight, stack_fp8),
    "fp4": (Fp4Weight, stack_fp4),
}
_FORM_OF = {type_: form for form, (type_, _) in PACKED.items()}


@dataclass(frozen=True)
class LayerReport:
    """What quantising one layer cost on (the first) calibration tokens.

    rtn_loss, loss: mean squared error of the layer's output, in the same form with nothing
    calibrated and as chosen; its input is what the method calibrated on.
    ratios: the search's result by the module whose input was scaled; None: not scaled.
    note: what had to be done in another way than usual.
    """

    layer: int
    rtn_loss: float
    loss: float
    ratios: Mapping[str, float | None]
    note: str = ""


@dataclass(frozen=True, eq=False)
class QuantizedMap:
    """One linear map. order: int64 [in_features], a permutation: the weight's input k is feature
    order[k] of x; None: in order. (GPTQ that quantises columns in the order of their importance
    may scatter a group's members; in `weight` they stand together.)
    """

    weight: PackedWeight
    order: Tensor | None = None


@dataclass(frozen=True, eq=False)
class QuantizedModel:
    """maps: quantised weights by module name, `model.layers.0.self_attn.q_proj`; may be made or
    read as they are asked for.
    dense: every other parameter by its name: embeddings, norms, biases, the output projection (as
    it was, where it is rounded, too).
    report: one entry a layer, or none where the weights were quantised elsewhere.
    """

    scheme: Scheme
    dense: Mapping[str, Tensor]
    maps: Mapping[str, QuantizedMap]
    report: tuple[LayerReport, ...] = ()


class Unquantized(Lazy[Tensor]):
    """Parameters `names` of a checkpoint, read as they are asked for, but for those that were
    replaced."""

    def __init__(self, weights: Mapping[str, Tensor], names: Iterable[str]) -> None:
        super().__init__(names)
        self._weights = weights
        self._replaced: dict[str, Tensor] = {}

    @classmethod
    def beside(cls, weights: Mapping[str, Tensor], modules: Iterable[str]) -> Unquantized:
        """All but the weights of the quantised `modules`."""
        packed = {f"{module}.weight" for module in modules}
        return cls(weights, (name for name in weights if name not in packed))

    def replace(self, name: str, tensor: Tensor) -> None:
        """What took up scales, a norm or a bias, in the checkpoint's place."""
        self._replaced[name] = tensor

    def make(self, name: str) -> Tensor:
        return self._replaced[name] if name in self._replaced else self._weights[name]


class ReorderedLinear:
    """A linear map that reads its inputs in another order; a gather, whatever kernel follows."""

    def __init__(self, linear: LinearMap, order: Tensor) -> None:
        self._linear = linear
        self._order = order

    def __call__(self, x: Tensor) -> Tensor:
        return self._linear(x.index_select(-1, self._order))

    @property
    def weight_bytes(self) -> int:
        """Bytes that one application reads: the map's and the order."""
        return self._linear.weight_bytes + self._order.nbytes


class SideBySide:
    """Maps of the same input that no one kernel can take together: their outputs in a row."""

    def __init__(self, parts: Sequence[LinearMap]) -> None:
        self._parts = tuple(parts)

    def __call__(self, x: Tensor) -> Tensor:
        return torch.cat([part(x) for part in self._parts], dim=-1)

    @property
    def weight_bytes(self) -> int:
        """Bytes that one application reads."""
        return sum(part.weight_bytes for part in self._parts)


class PackedSource:
    """A WeightSource over quantised maps: they stay packed, the rest is in `dtype` on `device`.

    force: operation -> implementation, of the forms' operations and of `linear` for what is dense.
    activations: of the maps whose inputs can be rounded; one of ACTIVATIONS.
    """

    def __init__(
        self,
        model: QuantizedModel,
        dtype: torch.dtype,
        device: torch.device,
        force: Mapping[str, str] | None = None,
        activations: str = "auto",
    ) -> None:
        self._activations = activations
        self._maps = model.maps
        self._dense = DenseSource(model.dense, dtype, device, force)
        self._dtype = dtype
        self._device = device
        self._force = force

    def tensor(self, name: str) -> Tensor:
        """A parameter that is not quantised."""
        return self._dense.tensor(name)

    def linear(self, names: Sequence[str]) -> LinearMap:
        """Modules `names`, stacked where one kernel takes them together and side by side where it
        does not: some quantised, others not, or with scales or an order of inputs of their own.

        Raises ConfigError where the kernel cannot take their shape.
        """
        if not any(name in self._maps for name in names):
            return self._dense.linear(names)
        if all(name in self._maps for name in names):
            together = _stacked([self._maps[name] for name in names])
            if together is not None:
                return self._packed(together, names)
        return SideBySide([self.linear([name]) for name in names])

    def _packed(self, map_: QuantizedMap, names: Sequence[str]) -> LinearMap:
        op = op_of(_FORM_OF[type(map_.weight)], self._activations)
        kernel = select(op, self._device, self._dtype, self._force)
        weight = map_.weight.to(self._device)
        try:
            linear = kernel.function(weight, self._dense.bias(names), self._dtype)
        except KernelError as error:
            reason = f"weights that kernel {kernel.name!r} can take ({error})"
            raise ConfigError("quant", names[0], reason) from error
        if map_.order is None:
            return linear
        return ReorderedLinear(linear, map_.order.to(self._device))


def _stacked(parts: Sequence[QuantizedMap]) -> QuantizedMap | None:
    """The maps as one; None where they do not share what a stack needs."""
    if len(parts) == 1:
        return parts[0]
    first = parts[0]
    alike = all(
        type(part.weight) is type(first.weight) and _same_order(part.order, first.order)
        for part in parts
    )
    if not alike:
        return None
    _, stack = PACKED[_FORM_OF[type(first.weight)]]
    try:
        return replace(first, weight=stack([part.weight for part in parts]))
    except KernelError:  # groups or static scales of their own
        return None


def _same_order(one: Tensor | None, other: Tensor | None) -> bool:
    if one is None or other is None:
        return one is other
    return torch.equal(one, other)
