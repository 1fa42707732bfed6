"""Whether a quantity of two runs is of the same thing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..metrics import CostPerMillionTokens, Goodput, GoodputShare
from ..result import Result
from . import text_quality
from .output_lengths import other_work
from .quantities import Quantity


def unlike(quantity: Quantity, one: Result, other: Result) -> str:
    """Why two numbers are not of the same thing, and their ratio says nothing; empty if it does."""
    if quantity.kind == "quality":
        return text_quality.unlike(quantity, one, other)
    of_slo = quantity.id in (Goodput.id, GoodputShare.id)
    if of_slo and (one.config.get("slo") or {}) != (other.config.get("slo") or {}):
        return "the runs were judged by different SLOs"
    if of_window(quantity) and one.window.steady != other.window.steady:
        return "one is over a steady window, and the other, without one, over the whole run"
    return other_work(quantity.id, one, other)


def of_window(quantity: Quantity) -> bool:
    """Whether it is over the steady window, and over the whole run where there is none."""
    return quantity.stat == "window" or quantity.id == CostPerMillionTokens.id


def mixed(results: Iterable[Result]) -> bool:
    """Whether some have a steady window and some have none."""
    return len({result.window.steady for result in results}) > 1


def whole_where_mixed(names: Sequence[str], results: Iterable[Result]) -> tuple[str, ...]:
    """Rates over whole runs for those over the steady window where only some runs have one: a
    window here and a whole run there are not the same quantity, and nothing could be told."""
    if not mixed(results):
        return tuple(names)
    return tuple(name.replace(".window", ".run") for name in names)
