"""Axes of a figure: where they lie, what they show and where their ticks are."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from ..format import number
from ..model import Axis, Chart, Panel

_GAP = 0.16  # between panels, as a share of the height
_CATEGORY_CHARACTERS, _INTERVAL_CHARACTERS = 16, 44
_RATIO_TICKS = (0.6, 0.7, 0.8, 0.9, 0.95, 1.0, 1.05, 1.1, 1.25)


def x_axis(chart: Chart, anchor: str) -> dict[str, Any]:
    x = chart.x
    axis = {**_axis(x), "anchor": anchor, "title": {"text": x.label, "standoff": 6}}
    intervals = [one for one in chart.series if one.mark == "interval"]
    if x.log:
        values = [value for one in chart.series for value in (*one.x, *one.low, *one.high)]
        ticks = ratio_ticks(values) if intervals else log_ticks(values)
        names = [f"{tick:g}" if intervals else number(tick) for tick in ticks]
        axis |= {"type": "log", "tickvals": ticks, "ticktext": names}
    elif any(one.mark == "bar" for one in chart.series):
        axis["rangemode"] = "tozero"
    elif x.high is None and not intervals:
        highest = max((max(one.x) for one in chart.series if one.x), default=0.0)
        axis["range"] = [0, 1.02 * highest or 1]
    if x.unit:
        axis["unifiedhovertitle"] = {"text": f"%{{x:,.4~g}} {x.unit}"}
    return axis


def log_ticks(values: Sequence[float]) -> list[float]:
    """Round numbers over the positive values, few enough for a phone: 1, 2 and 5 of a decade, 1 and
    3 over more than two decades, decades alone over more than four."""
    positive = [value for value in values if value > 0]
    if not positive:
        return []
    low, high = math.log10(min(positive)), math.log10(max(positive))
    digits = (1, 2, 5) if high - low <= 2 else (1, 3) if high - low <= 4 else (1,)
    powers = range(math.floor(low), math.ceil(high) + 1)
    ticks = [digit * 10.0**power for power in powers for digit in digits]
    return [tick for tick in ticks if min(positive) / 2 <= tick <= 2 * max(positive)]


def ratio_ticks(values: Sequence[float]) -> list[float]:
    """Ticks about 1, closer together the closer all values are to it."""
    positive = [value for value in values if value > 0]
    if not positive:
        return [1.0]
    low, high = min(1.0, *positive), max(1.0, *positive)
    if high / low > 5:
        return sorted({1.0, *log_ticks([low, high])})
    fine = [
        tick for tick in (0.25, 0.5, *_RATIO_TICKS, 1.5, 2, 3, 4) if low / 1.1 <= tick <= high * 1.1
    ]
    apart = (high / low) ** (1 / 5)  # room for some five labels
    kept = [1.0]
    for tick in sorted(fine, key=lambda tick: abs(math.log(tick))):
        if all(max(tick / other, other / tick) > apart for other in kept):
            kept.append(tick)
    return sorted(kept)


def y_axis(panel: Panel, domain: tuple[float, float]) -> dict[str, Any]:
    y = panel.y
    axis = {**_axis(y), "domain": list(domain), "rangemode": "tozero", "nticks": 5}
    if y.unit == "%":
        axis["dtick"] = 25
    if y.categories:
        intervals = any(one.mark == "interval" for one in panel.series)
        width = _INTERVAL_CHARACTERS if intervals else _CATEGORY_CHARACTERS
        names = ("<br>".join(_wrapped(name, width)) for name in y.categories)
        axis |= {
            "tickvals": list(range(len(y.categories))),
            "ticktext": list(names),
            "fixedrange": True,
        }
        if intervals:  # read from the top
            axis |= {"range": [len(y.categories) - 0.5, -0.5]}
    return axis


def _axis(of: Axis) -> dict[str, Any]:
    axis: dict[str, Any] = {
        "gridcolor": "var(--grid)",
        "linecolor": "var(--rule)",
        "zerolinecolor": "var(--rule)",
        "automargin": True,
        "separatethousands": True,
        "exponentformat": "none",
        "nticks": 7,
    }
    if of.high is not None:
        axis["range"] = [0, of.high * (1.02 if of.unit == "%" else 1.0)]
    return axis


def _wrapped(name: str, width: int) -> Iterable[str]:
    parts = name.replace(", ", ",\n").splitlines()
    lines = (line for part in parts for line in textwrap.wrap(part, width))
    return (escape(line) for line in lines)


def domain_of(at: int, panels: list[tuple[int, Panel]]) -> tuple[float, float]:
    """The part of the height that panel `at` (from 1, the top) has."""
    count = len(panels)
    height = (1 - _GAP * (count - 1)) / count
    top = 1 - (at - 1) * (height + _GAP)
    return max(0.0, top - height), top


def axis_number(at: int) -> str:
    """Plotly's first axis has no number."""
    return "" if at == 1 else str(at)
