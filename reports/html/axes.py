"""Axes of a figure: where they lie, what they show and where their ticks are."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable
from html import escape
from typing import Any

from ..model import Axis, Chart, Panel
from ..ticks import log_ticks, ratio_ticks, tick_text

_MOST_TICKS = 7
_GAP = 0.16  # between panels, as a share of the height
# Of a log axis beyond what it shows: as a share of that, and at least so many decades.
_ROOM, _LEAST_ROOM = 0.06, 0.002
_CATEGORY_CHARACTERS, _INTERVAL_CHARACTERS = 16, 44


def x_axis(chart: Chart, anchor: str) -> dict[str, Any]:
    x = chart.x
    axis = {**_axis(x), "anchor": anchor, "title": {"text": x.label, "standoff": 6}}
    intervals = [one for one in chart.series if one.mark == "interval"]
    zones = [end for panel in chart.panels for zone in panel.zones for end in zone.x or ()]
    if x.log:
        values = [value for one in chart.series for value in (*one.x, *one.low, *one.high)]
        values += zones
        ticks = ratio_ticks(values) if intervals else log_ticks(values)
        axis |= {"type": "log", "tickvals": ticks, "ticktext": [tick_text(one) for one in ticks]}
        if zones:
            axis["range"] = _log_range(values)
    elif any(one.mark == "bar" for one in chart.series):
        axis["rangemode"] = "tozero"
    elif x.high is None and not intervals:
        highest = max((max(one.x) for one in chart.series if one.x), default=0.0)
        axis["range"] = [0, 1.02 * highest or 1]
    if x.unit:
        axis["unifiedhovertitle"] = {"text": f"%{{x:,.4~g}} {x.unit}"}
    return axis


def y_axis(panel: Panel, domain: tuple[float, float]) -> dict[str, Any]:
    y = panel.y
    axis = {**_axis(y), "domain": list(domain), "rangemode": "tozero", "nticks": 5}
    if y.log:
        axis |= _ratios(panel)
    if y.unit == "%" and y.high == 100:
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


def _ratios(panel: Panel) -> dict[str, Any]:
    """A log axis of all that is drawn."""
    values = [
        *(value for one in panel.series for value in one.y),
        *(one.value for one in panel.guides if one.axis == "y"),
        *(end for one in panel.zones for end in one.y or ()),
    ]
    ticks = ratio_ticks(values)
    return {
        "type": "log",
        "range": _log_range(values),
        "tickvals": ticks,
        "ticktext": [tick_text(tick) for tick in ticks],
    }


def _log_range(values: Iterable[float]) -> list[float]:
    """The logarithms of its ends, with room about all positive values: at the edge, half of a line
    would be cut off."""
    known = [math.log10(value) for value in values if value > 0 and math.isfinite(value)]
    low, high = min(known, default=0.0), max(known, default=0.0)
    room = max(_ROOM * (high - low), _LEAST_ROOM)
    return [low - room, high + room]


def _axis(of: Axis) -> dict[str, Any]:
    axis: dict[str, Any] = {
        "gridcolor": "var(--grid)",
        "linecolor": "var(--rule)",
        "zerolinecolor": "var(--rule)",
        "automargin": True,
        "separatethousands": True,
        "exponentformat": "none",
        "nticks": _MOST_TICKS,
    }
    if of.high is not None and of.numbered:
        axis["range"] = [0.5, of.high]
        if of.high <= _MOST_TICKS:
            axis |= {"tick0": 1, "dtick": 1}
    elif of.high is not None:
        axis["range"] = [0, of.high * (1.02 if of.unit == "%" else 1.0)]
    return axis


def _wrapped(name: str, width: int) -> Iterable[str]:
    parts = name.replace(", ", ",\n").splitlines()
    lines = (line for part in parts for line in textwrap.wrap(part, width))
    return map(escaped, lines)


def escaped(text: str) -> str:
    """Without markup, as plotly reads it: it knows no entities of quotes."""
    return escape(text, quote=False)


def domain_of(at: int, panels: list[tuple[int, Panel]]) -> tuple[float, float]:
    """The part of the height that panel `at` (from 1, the top) has."""
    count = len(panels)
    height = (1 - _GAP * (count - 1)) / count
    top = 1 - (at - 1) * (height + _GAP)
    return max(0.0, top - height), top


def axis_number(at: int) -> str:
    """Plotly's first axis has no number."""
    return "" if at == 1 else str(at)
