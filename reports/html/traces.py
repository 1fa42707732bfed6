"""Series of a chart as plotly draws them, a function a mark."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..model import Axis, Mark, Panel, Series
from ..named_points import sides
from ..palette import dash_of, symbol_of
from .axes import axis_number, escaped

_POSITIONS = {
    "left": "middle left",
    "right": "middle right",
    "above": "top center",
    "below": "bottom center",
}


@dataclass(frozen=True)
class _Drawn:
    """A series in the panel that it is drawn in. at: the panel's number, from 1, the top."""

    series: Series
    panel: Panel
    x: Axis
    at: int

    @property
    def colour(self) -> str:
        return f"var(--{self.series.role})"

    @property
    def labels(self) -> list[str]:
        return list(map(escaped, self.series.labels))


def trace_of(series: Series, panel: Panel, x: Axis, at: int) -> dict[str, Any]:
    """A series as plotly draws it. at: as in `_Drawn`."""
    return {
        "name": escaped(series.name),
        "x": _short(series.x),
        "y": _short(series.y),
        "xaxis": "x",
        "yaxis": f"y{axis_number(at)}",
        "hovertemplate": _hover(series, panel.y, x),
        **_MARKS[series.mark](_Drawn(series, panel, x, at)),
    }


def _bar(drawn: _Drawn) -> dict[str, Any]:
    outline = {"color": "var(--ground)", "width": 1}
    return {
        "type": "bar",
        "orientation": "h",
        "marker": {"color": drawn.colour, "line": outline},
    }


def _point(drawn: _Drawn) -> dict[str, Any]:
    """Opaque and ringed by the ground, so that its contrast is that with the ground on a band, too,
    and points that overlap stay apart; one on an axis is drawn whole."""
    marker = {
        "color": drawn.colour,
        "size": 7,
        "symbol": symbol_of(drawn.series.role),
        "line": {"color": "var(--ground)", "width": 1},
    }
    return {
        **_labelled(drawn),
        "type": "scatter",
        "mode": "markers",
        "marker": marker,
        "cliponaxis": False,
    }


def _line(drawn: _Drawn) -> dict[str, Any]:
    line = {"color": drawn.colour, "width": 2, "dash": dash_of(drawn.series.role)}
    marker = {"color": drawn.colour, "size": 6}
    return {
        **_labelled(drawn),
        "type": "scatter",
        "mode": "lines+markers",
        "line": line,
        "marker": marker,
    }


def _labelled(drawn: _Drawn) -> dict[str, Any]:
    return {"text": drawn.labels} if drawn.series.labels else {}


def _named(drawn: _Drawn) -> dict[str, Any]:
    """Points with their names beside them; one on an axis is drawn whole."""
    placed = sides(drawn.x, drawn.panel)
    points = zip(drawn.series.x, drawn.series.y, strict=True)
    return {
        "type": "scatter",
        "mode": "markers+text",
        "marker": {"color": drawn.colour, "size": 11},
        "text": drawn.labels,
        "textposition": [_POSITIONS[placed[point]] for point in points],
        "textfont": {"color": "var(--ink)"},
        "cliponaxis": False,
    }


def _interval(drawn: _Drawn) -> dict[str, Any]:
    """A marker with a line to each end; an unknown end has none."""
    series = drawn.series
    above = [_length(high - x) for x, high in zip(series.x, series.high, strict=True)]
    below = [_length(x - low) for x, low in zip(series.x, series.low, strict=True)]
    ends = {"type": "data", "array": above, "arrayminus": below, "color": drawn.colour}
    return {
        "type": "scatter",
        "mode": "markers",
        "marker": {"color": drawn.colour, "size": 8},
        "error_x": {**ends, "thickness": 2, "width": 4, "symmetric": False},
        "text": drawn.labels,
    }


def _step(drawn: _Drawn) -> dict[str, Any]:
    dash = dash_of(drawn.series.role)
    line = {"shape": "hv", "color": drawn.colour, "width": 2, "dash": dash}
    return {"type": "scatter", "mode": "lines", "line": line}


def _area(drawn: _Drawn) -> dict[str, Any]:
    """One of several is stacked, and edged to part it for those who cannot tell their hues."""
    stacked = sum(one.mark == "area" for one in drawn.panel.series) > 1
    edge = "var(--ground)" if stacked else drawn.colour
    return {
        **_labelled(drawn),
        **({"stackgroup": f"panel{drawn.at}"} if stacked else {"fill": "tozeroy"}),
        "type": "scatter",
        "mode": "lines",
        "line": {"shape": "hv", "color": edge, "width": 0.5},
        "fillcolor": drawn.colour,
    }


_MARKS: Mapping[Mark, Callable[[_Drawn], dict[str, Any]]] = {
    "area": _area,
    "bar": _bar,
    "interval": _interval,
    "line": _line,
    "named": _named,
    "point": _point,
    "step": _step,
}


def _length(value: float) -> float:
    return float(f"{value:.6g}") if math.isfinite(value) else 0.0


def _hover(series: Series, y: Axis, x: Axis) -> str:
    """What a point says when it is pointed at."""
    name = escaped(series.name)
    if series.mark == "interval":
        return "%{text}<extra></extra>"
    if series.mark == "bar":
        return f"{name}: %{{x:.3s}}{x.unit}<extra></extra>"
    if series.mark == "area" and series.labels:
        return f"{name}: %{{y:,.4~g}} {y.unit}, %{{text}}<extra></extra>"
    if series.mark == "line" and not series.labels:
        return f"{name}: %{{y:,.4~g}} {y.unit} at %{{x:,.4~g}} {x.unit}<extra></extra>"
    if series.labels:
        return f"%{{text}}<br>%{{y:,.4~g}} {y.unit} at %{{x:,.4~g}} {x.unit}<extra></extra>"
    if y.unit == "%":
        return f"{name}<br>%{{y:.1f}} % within %{{x:,.4~g}} {x.unit}<extra></extra>"
    return f"{name}: %{{y:,.4~g}} {y.unit}<extra></extra>"


def _short(values: Iterable[float]) -> list[float]:
    """Six digits are more than a screen shows, and half the bytes."""
    return [float(f"{value:.6g}") for value in values]
