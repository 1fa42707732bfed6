"""A `Chart` as a plotly figure, in plain data.

Colours are left as `var(--role)`: the page fills them in for the ground it is read on, and again
when that changes. Series names and labels are escaped, because plotly reads markup in them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from ..format import THIN
from ..model import Chart, Mark, Series
from ..palette import dash_of, symbol_of
from .axes import axis_number, domain_of, x_axis, y_axis
from .guides import band, guide_label, guide_line, panel_title, zone_band
from .traces import trace_of

_HEIGHT_PX = {1: 250, 2: 380}
_BAR_PX, _INTERVAL_PX, _FRAME_PX = 56, 34, 80


@dataclass(frozen=True)
class Key:
    """A line of the legend, which the page writes itself: it wraps and prints better. look: a
    point's symbol, and else the line's dash."""

    name: str
    role: str
    mark: Mark
    look: str


def keys(chart: Chart) -> tuple[Key, ...]:
    """The legend: of series that are drawn and not named there, and of zones."""
    series = () if _is_named(chart) else (_key(one) for one in chart.series if one.x)
    zones = (Key(zone.name, "zone", "bar", "solid") for one in chart.panels for zone in one.zones)
    return tuple(dict.fromkeys((*series, *zones)))


def _is_named(chart: Chart) -> bool:
    """Whether each panel's one series is named by its axis, or every point by its own name beside
    it."""
    named = all(one.name == panel.y.title for panel in chart.panels for one in panel.series[:1])
    one_each = len(chart.series) == len(chart.panels)
    if all(one.mark == "named" and set(one.labels) == {one.name} for one in chart.series):
        return True
    return (
        one_each
        and chart.series[0].mark not in ("bar", "interval")
        and (named or len(chart.series) == 1)
    )


def _key(series: Series) -> Key:
    mark = _mark(series)
    look = symbol_of(series.role) if mark == "point" else dash_of(series.role)
    return Key(series.name, series.role, mark, look)


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
        "xaxis": x_axis(chart, anchor=f"y{axis_number(len(panels))}"),
        **{f"yaxis{axis_number(at)}": y_axis(panel, domain_of(at, panels)) for at, panel in panels},
        "annotations": [],
        "shapes": [],
    }
    for at, panel in panels:
        if not bars:
            layout["annotations"].append(panel_title(panel.y, domain_of(at, panels)))
        layout["shapes"] += [zone_band(zone, at, domain_of(at, panels)) for zone in panel.zones]
        for guide in panel.guides:
            layout["shapes"].append(guide_line(guide, at, domain_of(at, panels)))
            if guide.label:
                layout["annotations"].append(guide_label(guide, at, domain_of(at, panels), chart))
    if chart.span is not None:
        layout["shapes"].append(band(chart.span[0], chart.span[1]))
    data = [trace_of(one, panel, chart.x, at) for at, panel in panels for one in panel.series]
    return {"data": data, "layout": layout}


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
