"""What a format says of one linear map, and of a whole model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from ....kernels.registry import KernelError
from ..quantized import QuantizedMap
from ..scheme import Scheme

FLOATS = ("F32", "F16", "BF16")
# A note on a checkpoint whose cache of keys and values is quantised.
KV_CACHE = (
    "its KV cache would be quantised by scales that it brings; here --kv-dtype decides, "
    "with a scale for each token and head"
)


@dataclass(frozen=True)
class Part:
    """One tensor of a map on disk. shapes: those that are right. dtypes: as safetensors spells
    them. optional: the map can be read without it. also: another name that writers give it."""

    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[str, ...]
    optional: bool = False
    also: str = ""


def part(dtypes: str | tuple[str, ...], *shape: int, optional: bool = False) -> Part:
    """A tensor of one shape."""
    return Part((shape,), (dtypes,) if isinstance(dtypes, str) else dtypes, optional)


def number(*, optional: bool = False, also: str = "") -> Part:
    """A single float, which some writers store with an axis and some without."""
    return Part(((), (1,)), FLOATS, optional, also)


class Layout(Protocol):
    """How a format stores one linear map. A part's name follows the module's: `….qweight`."""

    @property
    def scheme(self) -> Scheme:
        """What the map is."""
        ...

    def parts(self, out_features: int, in_features: int) -> Mapping[str, Part]:
        """The tensors that a map of this size has. Raises KernelError for a size it cannot have."""
        ...

    def read(self, parts: Mapping[str, Tensor], size: tuple[int, int]) -> QuantizedMap:
        """The map of [out_features, in_features], of tensors that are as `parts` says. Raises
        KernelError for values that are no map."""
        ...


class Writable(Layout, Protocol):
    """A layout that maps can be written in, too."""

    def write(self, map_: QuantizedMap) -> dict[str, Tensor]:
        """The inverse of `read`. Raises KernelError for a map that this layout cannot hold."""
        ...


@dataclass(frozen=True)
class Format:
    """A whole model's.

    name: what a person calls it. layout_of: a module's layout, None where it is not quantised.
    notes: what the checkpoint asks for and this code does otherwise, a line each.
    """

    name: str
    layout_of: Callable[[str], Layout | None]
    notes: tuple[str, ...] = field(default=())


def float16_scales(scales: Tensor) -> Tensor:
    """Scales as formats of float16 store them. Raises KernelError for those that would change."""
    halves = scales.half()
    if not torch.equal(halves.to(scales.dtype), scales):
        raise KernelError("its scales are not float16 numbers, and the format stores those")
    return halves


def in_stored_order(map_: QuantizedMap) -> None:
    """Raises KernelError for a map whose inputs stand in another order."""
    if map_.order is not None:
        raise KernelError("its inputs are reordered, which the format has no place for")


def positive(name: str, scale: Tensor) -> Tensor:
    """A single scale that is divided by. Raises KernelError."""
    if not bool((scale > 0).all()):
        raise KernelError(f"its {name} {float(scale)} is not above 0")
    return scale


def not_negative(name: str, scales: Tensor) -> Tensor:
    """Scales that are the largest magnitude over a constant; 0 of a block of zeros. Raises
    KernelError. Not of integer weights: auto-round's symmetric scales have a sign, so as to use
    the code that only one side has.
    """
    if bool((scales < 0).any()):
        raise KernelError(f"its {name} holds {float(scales.min())}, below 0")
    return scales
