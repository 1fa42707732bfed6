"""A `Chart` as a plotly figure, in plain data.

Colours are left as `var(--role)`: the page fills them in for the ground it is read on, and again
when that changes. Series names and labels are escaped, because plotly reads markup in them.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from ..format import THIN, number
from ..model import Axis, Chart, Guide, Mark, Panel, Series
from ..named_points import sides
from ..palette import dash_of

_GAP = 0.16  # between panels, as a share of the height
_HEIGHT_PX = {1: 250, 2: 380}
_BAR_PX, _FRAME_PX = 56, 80
_CATEGORY_CHARACTERS = 16
_INTERVAL_PX, _INTERVAL_CHARACTERS = 34, 44
_RATIO_TICKS = (0.6, 0.7, 0.8, 0.9, 0.95, 1.0, 1.05, 1.1, 1.25)


@dataclass(frozen=True)
class Key:
    """A line of the legend, which the page writes itself: it wraps and prints better."""

    name: str
    role: str
    mark: Mark
    dash: str


def keys(chart: Chart) -> tuple[Key, ...]:
    """The legend; empty where each panel's one series is named by its axis, or every point by its
    own name beside it."""
    named = all(one.name == panel.y.title for panel in chart.panels for one in panel.series[:1])
    one_each = len(chart.series) == len(chart.panels)
    if all(one.mark == "named" and set(one.labels) == {one.name} for one in chart.series):
        return ()
    if (
        one_each
        and chart.series[0].mark not in ("bar", "interval")
        and (named or len(chart.series) == 1)
    ):
        return ()
    found = (Key(one.name, one.role, _mark(one), dash_of(one.role)) for one in chart.series)
    return tuple(dict.fromkeys(found))


def _mark(series: Series) -> Mark:
    """An interval whose ends are all unknown is drawn as its point."""
    unknown = series.mark == "interval" and all(map(math.isnan, (*series.low, *series.high)))
    return "point" if unknown else series.mark


def figure(chart: Chart) -> dict[str, Any]:
    """{"data": [...], "layout": {...}} for `Plotly.react`."""
    panels = list(enumerate(chart.panels, start=1))
    bars = any(one.mark in ("bar", "interval") for one in chart.series)
    layout: dict[str, Any] = {
        "height": _height(chart),
        "margin": {"l": 8, "r": 10, "t": 24, "b": 8},
        "showlegend": False,
        "hovermode": "x unified" if _is_over_time(chart) else "closest",
        "barmode": "stack",
        "bargap": 0.35,
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, sans-serif", "size": 12, "color": "var(--quiet)"},
        "separators": f".{THIN}",
        "modebar": {
            "bgcolor": "rgba(0,0,0,0)",
            "color": "var(--quiet)",
            "activecolor": "var(--ink)",
        },
        "hoverlabel": {
            "bgcolor": "var(--raised)",
            "bordercolor": "var(--rule)",
            "font": {"color": "var(--ink)"},
            "align": "left",
        },
        "xaxis": _x_axis(chart, anchor=f"y{_index(len(panels))}"),
        **{f"yaxis{_index(at)}": _y_axis(panel, _domain(at, panels)) for at, panel in panels},
        "annotations": [],
        "shapes": [],
    }
    for at, panel in panels:
        if not bars:
            layout["annotations"].append(_panel_title(panel.y, _domain(at, panels)))
        for guide in panel.guides:
            layout["shapes"].append(_guide_line(guide, at, _domain(at, panels)))
            if guide.label:
                layout["annotations"].append(_guide_label(guide, at, _domain(at, panels), chart))
    if chart.span is not None:
        layout["shapes"].append(_band(chart.span[0], chart.span[1]))
    data = [_trace(one, panel, chart.x, at) for at, panel in panels for one in panel.series]
    return {"data": data, "layout": layout}


def _trace(series: Series, panel: Panel, x: Axis, at: int) -> dict[str, Any]:
    colour = f"var(--{series.role})"
    trace: dict[str, Any] = {
        "name": escape(series.name),
        "x": _short(series.x),
        "y": _short(series.y),
        "xaxis": "x",
        "yaxis": f"y{_index(at)}",
        "hovertemplate": _hover(series, panel.y, x),
    }
    if series.mark == "bar":
        outline = {"color": "var(--ground)", "width": 1}
        return {
            **trace,
            "type": "bar",
            "orientation": "h",
            "marker": {"color": colour, "line": outline},
        }
    if series.mark == "interval":
        return {**trace, "type": "scatter", "mode": "markers", **_interval(series, colour)}
    if series.mark == "point":
        shape = "diamond" if series.role == "preempted" else "circle"
        marker = {"color": colour, "size": 6, "opacity": 0.75, "symbol": shape}
        if series.labels:
            trace["text"] = [escape(label) for label in series.labels]
        return {**trace, "type": "scatter", "mode": "markers", "marker": marker}
    if series.mark == "named":
        return {**trace, "type": "scatter", "mode": "markers+text", **_named(series, panel, x)}
    if series.mark == "line":
        line = {"color": colour, "width": 2, "dash": dash_of(series.role)}
        marker = {"color": colour, "size": 6}
        if series.labels:
            trace["text"] = [escape(label) for label in series.labels]
        return {**trace, "type": "scatter", "mode": "lines+markers", "line": line, "marker": marker}
    line: dict[str, Any] = {"shape": "hv", "color": colour}
    if series.mark == "step":
        line |= {"width": 2, "dash": dash_of(series.role)}
        return {**trace, "type": "scatter", "mode": "lines", "line": line}
    stacked = sum(one.mark == "area" for one in panel.series) > 1
    line["width"] = 0.5
    if stacked:
        line["color"] = "var(--ground)"  # parts the areas for those who cannot tell their hues
        trace["stackgroup"] = f"panel{at}"
    else:
        trace["fill"] = "tozeroy"
    return {**trace, "type": "scatter", "mode": "lines", "line": line, "fillcolor": colour}


_POSITIONS = {
    "left": "middle left",
    "right": "middle right",
    "above": "top center",
    "below": "bottom center",
}


def _named(series: Series, panel: Panel, x: Axis) -> dict[str, Any]:
    """Points with their names beside them; one on an axis is drawn whole."""
    placed = sides(x, panel)
    return {
        "marker": {"color": f"var(--{series.role})", "size": 11},
        "text": [escape(label) for label in series.labels],
        "textposition": [
            _POSITIONS[placed[point]] for point in zip(series.x, series.y, strict=True)
        ],
        "textfont": {"color": "var(--ink)"},
        "cliponaxis": False,
    }


def _interval(series: Series, colour: str) -> dict[str, Any]:
    """A marker with a line to each end; an unknown end has none."""
    above = [_length(high - x) for x, high in zip(series.x, series.high, strict=True)]
    below = [_length(x - low) for x, low in zip(series.x, series.low, strict=True)]
    ends = {"type": "data", "array": above, "arrayminus": below, "color": colour}
    return {
        "marker": {"color": colour, "size": 8},
        "error_x": {**ends, "thickness": 2, "width": 4, "symmetric": False},
        "text": [escape(label) for label in series.labels],
    }


def _length(value: float) -> float:
    return float(f"{value:.6g}") if math.isfinite(value) else 0.0


def _hover(series: Series, y: Axis, x: Axis) -> str:
    """What a point says when it is pointed at."""
    name = escape(series.name)
    if series.mark == "interval":
        return "%{text}<extra></extra>"
    if series.mark == "bar":
        return f"{name}: %{{x:.3s}}{x.unit}<extra></extra>"
    if series.mark == "line" and not series.labels:
        return f"{name}: %{{y:,.4~g}} {y.unit} at %{{x:,.4~g}} {x.unit}<extra></extra>"
    if series.labels:
        return f"%{{text}}<br>%{{y:,.4~g}} {y.unit} at %{{x:,.4~g}} {x.unit}<extra></extra>"
    if y.unit == "%":
        return f"{name}<br>%{{y:.1f}} % within %{{x:,.4~g}} {x.unit}<extra></extra>"
    return f"{name}: %{{y:,.4~g}} {y.unit}<extra></extra>"


def _x_axis(chart: Chart, anchor: str) -> dict[str, Any]:
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


def _y_axis(panel: Panel, domain: tuple[float, float]) -> dict[str, Any]:
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


def _panel_title(y: Axis, domain: tuple[float, float]) -> dict[str, Any]:
    """The y axis' name above it: sideways text is hard to read and takes width on a phone."""
    return {
        "text": y.label,
        "showarrow": False,
        "xref": "paper",
        "yref": "paper",
        "x": 0,
        "y": domain[1],
        "xanchor": "left",
        "yanchor": "bottom",
        "yshift": 4,
        "font": {"color": "var(--quiet)"},
    }


def _guide_line(guide: Guide, at: int, domain: tuple[float, float]) -> dict[str, Any]:
    line = {"color": "var(--ink)", "width": 1.5, "dash": "dash"}
    if guide.axis == "x":
        ends = {"x0": guide.value, "x1": guide.value, "y0": domain[0], "y1": domain[1]}
        return {"type": "line", "xref": "x", "yref": "paper", "line": line, **ends}
    ends = {"x0": 0, "x1": 1, "y0": guide.value, "y1": guide.value}
    return {"type": "line", "xref": "paper", "yref": f"y{_index(at)}", "line": line, **ends}


def _guide_label(
    guide: Guide, at: int, domain: tuple[float, float], chart: Chart
) -> dict[str, Any]:
    label: dict[str, Any] = {
        "text": escape(guide.label),
        "showarrow": False,
        "font": {"color": "var(--ink)"},
        "bgcolor": "var(--ground)",
        "opacity": 0.9,
    }
    if guide.axis == "x":
        # Plotly places annotations of a log axis by the logarithm.
        value = math.log10(guide.value) if chart.x.log else guide.value
        place = {"xref": "x", "yref": "paper", "x": value, "y": domain[0] + 0.05}
        far = guide.value > 0.6 * max(max(one.x) for one in chart.series if one.x)
        side = {"xanchor": "right", "xshift": -4} if far else {"xanchor": "left", "xshift": 4}
        return {**label, **place, **side, "yanchor": "bottom"}
    place = {"xref": "paper", "yref": f"y{_index(at)}", "x": 0, "y": guide.value}
    return {**label, **place, "xanchor": "left", "yanchor": "top", "xshift": 4, "yshift": -2}


def _band(low: float, high: float) -> dict[str, Any]:
    return {
        "type": "rect",
        "layer": "below",
        "xref": "x",
        "yref": "paper",
        "x0": low,
        "x1": high,
        "y0": 0,
        "y1": 1,
        "fillcolor": "var(--band)",
        "line": {"width": 0},
    }


def _domain(at: int, panels: list[tuple[int, Panel]]) -> tuple[float, float]:
    """The part of the height that panel `at` (from 1, the top) has."""
    count = len(panels)
    height = (1 - _GAP * (count - 1)) / count
    top = 1 - (at - 1) * (height + _GAP)
    return max(0.0, top - height), top


def _height(chart: Chart) -> int:
    categories = max(len(panel.y.categories) for panel in chart.panels)
    if categories:
        intervals = any(one.mark == "interval" for one in chart.series)
        return _FRAME_PX + (_INTERVAL_PX if intervals else _BAR_PX) * categories
    return _HEIGHT_PX[min(2, len(chart.panels))]


def _is_over_time(chart: Chart) -> bool:
    """Whether all series can be read at one time at once."""
    marks = {one.mark for one in chart.series}
    return chart.x.unit == "s" and marks <= {"step", "area"} and chart.x.title == "Time"


def _index(at: int) -> str:
    """Plotly's first axis has no number."""
    return "" if at == 1 else str(at)


def _short(values: Iterable[float]) -> list[float]:
    """Six digits are more than a screen shows, and half the bytes."""
    return [float(f"{value:.6g}") for value in values]
