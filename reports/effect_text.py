"""How an effect of a factorial is written: as a percentage, a factor, or a difference."""

from __future__ import annotations

from typing import Literal

from .comparison_tables import FARTHEST, end_text, ratio_text
from .format import number

Scale = Literal["ratio", "difference"]


def effect_text(
    value: float, low: float | None, high: float | None, scale: Scale, unit: str
) -> str:
    """ "−38 % [−45, −30]", "4.10× [3.80, 4.40]" from twofold on, "−88 points [−89, −87]"."""
    factor = scale == "ratio" and value >= 2
    if scale == "ratio":
        name = "×" if factor else " %"
    else:
        name = " points" if unit == "share" else f" {unit}".rstrip()
    text = f"{_bare(value, scale, unit, factor)}{name}"
    if low is None or high is None:
        return text
    ends = ", ".join(_end(end, value, scale, unit, factor) for end in (low, high))
    return f"{text} [{ends}]"


def _end(end: float, value: float, scale: Scale, unit: str, factor: bool) -> str:
    """value: of the effect. No run shows where beyond a hundredfold the end of an interval lies."""
    if scale == "difference":
        return _bare(end, scale, unit, factor)
    if factor:
        return end_text(end, value)
    if end < 1 / FARTHEST:
        return "<\u221299"
    return f"{end_text(end)}×" if end > FARTHEST else _bare(end, scale, unit, factor)


def _bare(value: float, scale: Scale, unit: str, factor: bool) -> str:
    if factor:
        return ratio_text(value)
    change = 100 * (value - 1) if scale == "ratio" else value * (100 if unit == "share" else 1)
    if unit != "s" or scale == "ratio":
        # A tenth of a percent is as much as any interval here can tell.
        change = float(f"{change:.1f}") if abs(change) < 10 else float(round(change))
    if change == 0:
        return "0"
    written = f"{change:.1f}".replace("-", "\u2212") if abs(change) < 10 else number(change)
    return f"{'+' if change > 0 else ''}{written.removesuffix('.0')}"
