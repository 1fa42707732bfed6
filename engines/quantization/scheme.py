"""What a quantised model is: which of its maps are quantised, by which method and how."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import ConfigError
from ..models.config import ModelConfig
from .grid import GridFormat, choose_group_size, in_pieces
from .methods import find_method, find_quantiser


@dataclass(frozen=True)
class Scheme:
    """How one model's maps are quantised.

    bits: of a weight. group_size: inputs that share a scale; None: as the form has it (a row, a
    block, a tensor). symmetric: no zero points. act_order: columns were quantised in the order of
    their importance.
    """

    method: str
    bits: int
    group_size: int | None = None
    symmetric: bool = True
    act_order: bool = False

    @property
    def form(self) -> str:
        """Of the weights, a key of FORMS."""
        form = find_method(self.method).form
        return "int8" if form == "int4" and self.bits == 8 else form

    @property
    def grid(self) -> GridFormat:
        """Of integer weights."""
        return GridFormat(self.bits, self.group_size, self.symmetric)

    def groups(self, in_features: int) -> int:
        """In a row of a map; the last may be shorter."""
        return -(-in_features // (self.group_size or in_features))


# A group size that is asked for as "all inputs", as GPTQ's configs write it.
WHOLE_ROW = -1


def default_scheme(config: ModelConfig, method: str, group_size: int | None = None) -> Scheme:
    """A method as an engine runs it when no more is said. Raises ConfigError."""
    return _usual_scheme(method, resolve_group_size(config, method, group_size))


def _usual_scheme(method: str, group_size: int | None) -> Scheme:
    found = find_method(method)
    return Scheme(
        method,
        found.bits,
        group_size,
        symmetric=not found.asymmetric,
        act_order=method == "gptq",
    )


def asked_scheme(
    config: ModelConfig,
    method: str,
    *,
    bits: int | None = None,
    group_size: int | None = None,
    symmetric: bool | None = None,
    act_order: bool | None = None,
) -> Scheme:
    """A method with what a user chose; None: as `default_scheme` has it. group_size may be
    WHOLE_ROW. Raises ConfigError for a method that only checkpoints have, and for a choice that
    the method does not leave."""
    found = find_quantiser(method)
    rows = group_size == WHOLE_ROW
    if group_size is not None and found.grouped and not rows:
        check_group_size(config, group_size, f", or {WHOLE_ROW}: all of a row")
    if rows or not found.grouped:  # whole rows fit a model that no group does
        scheme = _usual_scheme(method, None)
    else:
        scheme = default_scheme(config, method, group_size)
    if bits not in (None, scheme.bits) and not (found.eight_bits and bits == 8):
        choices = "4 or 8" if found.eight_bits else str(scheme.bits)
        raise ConfigError("bits", bits, f"{choices} with {method}")
    if not found.grouped:
        for name, value in (("group_size", group_size), ("symmetric", symmetric)):
            if value is not None:
                raise ConfigError(name, value, f"unset: {method} has no groups with zero points")
    if act_order and method != "gptq":
        raise ConfigError("act_order", True, f"gptq, not {method}")
    return Scheme(
        method,
        bits or scheme.bits,
        scheme.group_size,
        scheme.symmetric if symmetric is None else symmetric,
        scheme.act_order if act_order is None else act_order,
    )


def resolve_group_size(config: ModelConfig, method: str, asked: int | None) -> int | None:
    """The group size in force: as asked, or the largest usual one that divides every input.

    One that does not divide an input leaves a shorter group at its end. None where the method has
    no groups. Raises ConfigError for one that does not fit.
    """
    if method == "none" or not find_method(method).grouped:
        return None
    if asked is None:
        return choose_group_size(input_widths(config))
    check_group_size(config, asked)
    return asked


def input_widths(config: ModelConfig) -> tuple[int, ...]:
    """Inputs of a layer's maps, the smallest first."""
    return tuple(sorted(_maps_by_width(config)))


def _maps_by_width(config: ModelConfig) -> dict[int, str]:
    """The first of a layer's maps that has so many inputs, for each number of them."""
    return {width: name for name, (_, width) in reversed(config.layer_maps().items())}


def ragged_width(config: ModelConfig, scheme: Scheme) -> int | None:
    """The first width that groups do not divide; None where they divide all."""
    size = scheme.group_size
    return next((width for width in input_widths(config) if size and width % size), None)


def check_group_size(config: ModelConfig, group_size: int, or_else: str = "") -> None:
    """Raises ConfigError for a group that kernels could not read: pieces of fewer than 8. or_else:
    what else may be asked for, in the error's words."""
    maps = _maps_by_width(config)
    for width in sorted(maps):
        if not in_pieces(group_size, width):
            allowed = f"a multiple of 8, at most {width} (the inputs of {maps[width]}){or_else}"
            raise ConfigError("group_size", group_size, allowed)


def quantized_maps(config: ModelConfig) -> tuple[str, ...]:
    """Names of the linear maps of every layer, without `.weight`: what a method quantises."""
    return tuple(config.map_shapes())
