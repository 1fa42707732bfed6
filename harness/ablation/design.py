"""Which settings are changed, to which levels, and the cells that all their combinations make.

A full factorial: every level of every axis meets every level of the others, so an effect is seen
under all of them and what depends on another axis can be told from what does not. Source: Box,
Hunter and Hunter, "Statistics for Experimenters" (2nd edition, 2005), chapter 5.
"""

from __future__ import annotations

import itertools
import types
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, get_args, get_origin, get_type_hints

from ...engines.config import EngineConfig, with_choices
from ...engines.errors import ConfigError, unknown_name
from ...reports.glossary import setting_text
from ..cells.runner import Level
from ..units import parse_bytes

# What an axis is set to when only its name is given; the first level is the base of its effects.
DEFAULT_LEVELS: dict[str, tuple[Level, ...]] = {
    "batching": ("separate", "mixed"),
    "admission": ("optimistic", "reserve"),
    "kv": ("paged", "contiguous"),
    "quant": ("none", "awq"),
    "chunked_prefill": (True, False),
}
# Settings that the command line calls by another name.
_SPELLINGS = {
    "kv_memory": "kv_memory_bytes",
    "swap_memory": "swap_memory_bytes",
    "enable_prefix_caching": "prefix_cache",
    "enable_chunked_prefill": "chunked_prefill",
    "scheduler_delay_factor": "delay_factor",
}
_NOT_AXES = ("engine", "stands_for")
_NO_OPTIONS = ("quant_bits", "quant_activations", "quant_head")
_HINTS = get_type_hints(EngineConfig)
_LISTING = "the engine's and policies' options of 'llmbench run --help'"
_WORDS = {"yes": True, "true": True, "on": True, "no": False, "false": False, "off": False}
MOST_CELLS = 256


@dataclass(frozen=True)
class Axis:
    """A setting of `EngineConfig` and its levels; the first is the base."""

    name: str
    levels: tuple[Level, ...]

    @property
    def base(self) -> Level:
        return self.levels[0]


@dataclass(frozen=True)
class Cell:
    """One combination of levels, in the order of the axes."""

    levels: tuple[tuple[str, Level], ...]

    @property
    def overrides(self) -> dict[str, Level]:
        return dict(self.levels)

    @property
    def name(self) -> str:
        """`batching=mixed,kv=paged`: also its directory."""
        return ",".join(f"{axis}={level_text(level)}" for axis, level in self.levels)

    def but(self, **levels: Level) -> Cell:
        """The cell with other levels on some axes."""
        return Cell(tuple((axis, levels.get(axis, level)) for axis, level in self.levels))


@dataclass(frozen=True)
class Design:
    """Axes, and the cells they span: the last axis varies fastest."""

    axes: tuple[Axis, ...]

    @property
    def cells(self) -> tuple[Cell, ...]:
        names = [axis.name for axis in self.axes]
        combinations = itertools.product(*(axis.levels for axis in self.axes))
        return tuple(Cell(tuple(zip(names, levels, strict=True))) for levels in combinations)

    def told(self, cell: Cell) -> str:
        """A cell in words, for sentences: `mixed batching, paged KV`."""
        return ", ".join(setting_text(axis, level) for axis, level in cell.levels)


def level_text(level: Level) -> str:
    """A level as it is typed."""
    if isinstance(level, bool):
        return "yes" if level else "no"
    return f"{level:g}" if isinstance(level, float) else str(level)


def parse_axes(text: str, base: EngineConfig) -> Design:
    """`batching,kv=paged:contiguous,block_size=16:32` as a design.

    base: the engine whose other settings every cell keeps. Raises ConfigError, with the nearest
    spelling, for an axis that is no setting, levels that are missing, repeated or not allowed by
    themselves, and for more cells than anyone will wait for.
    """
    axes: list[Axis] = []
    for part in (part.strip() for part in text.split(",")):
        name, _, levels = part.partition("=")
        axis = _axis(name.strip(), levels, named="=" in part)
        if axis.name in {other.name for other in axes}:
            raise ConfigError("axes", axis.name, "each axis once")
        _check_levels(axis, base)
        axes.append(axis)
    design = Design(tuple(axes))
    if len(design.cells) > MOST_CELLS:
        raise ConfigError("axes", f"{len(design.cells)} cells", f"at most {MOST_CELLS}")
    return design


def setting_of_option(name: str) -> str:
    """The setting of `EngineConfig` that is called so, or on the command line."""
    field = name.replace("-", "_")
    return _SPELLINGS.get(field, field)


def option_of(setting: str) -> str:
    """As it is typed, `--kv-memory`; empty for what is no option of its own."""
    if not _can_vary(setting) or setting in _NO_OPTIONS or setting not in _HINTS:
        return ""
    called = next((name for name, field in _SPELLINGS.items() if field == setting), setting)
    return "--" + called.replace("_", "-")


def _axis(name: str, levels: str, *, named: bool) -> Axis:
    field = setting_of_option(name)
    settings = [one.name for one in fields(EngineConfig) if _can_vary(one.name)]
    if field == "engine":
        several = levels.replace(":", ",") if levels else "paged,inflight"
        raise ConfigError(
            "axes",
            f"{name}={levels}" if named else name,
            "one setting at a time, and engines differ in several; to hold whole engines against "
            f"each other: llmbench sweep --vary engine={several}",
        )
    if field not in settings:
        raise unknown_name("axes", name, settings, _LISTING)
    if not named:
        if field not in DEFAULT_LEVELS:
            raise ConfigError("axes", name, f"its levels beside it, such as {field}=A:B")
        return Axis(field, DEFAULT_LEVELS[field])
    values = tuple(_level(field, word.strip()) for word in levels.split(":"))
    if len(values) < 2:
        raise ConfigError("axes", f"{name}={levels}", "at least two levels, such as A:B")
    if len(set(values)) < len(values):
        raise ConfigError("axes", f"{name}={levels}", "each level once")
    return Axis(field, values)


def _can_vary(field: str) -> bool:
    """A list has no form among levels; one of its entries would be taken for all of it."""
    return field not in _NOT_AXES and get_origin(_HINTS[field]) is not tuple


def _level(field: str, word: str) -> Level:
    """A level in the type that the setting has."""
    if not word:
        raise ConfigError("axes", f"{field}={word}", "a level on each side of every colon")
    if field.endswith("_bytes"):
        return parse_bytes(field.removesuffix("_bytes"), word)
    kinds = _kinds(_HINTS[field])
    if bool in kinds:
        if word.lower() not in _WORDS:
            raise unknown_name(field, word, _WORDS)
        return _WORDS[word.lower()]
    for kind, allowed in ((int, "a whole number"), (float, "a number")):
        if kind in kinds:
            try:
                return kind(word)
            except ValueError:
                raise ConfigError(field, word, allowed) from None
    return word


def _kinds(hint: Any) -> tuple[Any, ...]:
    """`int | None` as (int, NoneType); a plain type as itself."""
    return get_args(hint) if isinstance(hint, types.UnionType) or get_origin(hint) else (hint,)


def _check_levels(axis: Axis, base: EngineConfig) -> None:
    """A level that is wrong by itself; one that only contradicts another setting is a cell's."""
    for level in axis.levels:
        try:
            with_choices(base, **{axis.name: level})
        except ConfigError as error:
            if error.field == axis.name:
                raise


@dataclass(frozen=True)
class NotRun:
    """A cell that cannot be, and the reason in one line."""

    cell: Cell
    reason: str


def refuse_lost_levels(design: Design, refused: Sequence[NotRun]) -> None:
    """A cell may contradict itself; a level that no cell can have is a mistake of the whole.

    Raises ConfigError with the reason of its first cell.
    """
    reasons = {one.cell: one.reason for one in refused}
    for axis in design.axes:
        for level in axis.levels:
            having = [cell for cell in design.cells if cell.overrides[axis.name] == level]
            if all(cell in reasons for cell in having):
                raise ConfigError(
                    "axes",
                    f"{axis.name}={level_text(level)}",
                    f"a level that some cell can have; {having[0].name}: {reasons[having[0]]}",
                )
