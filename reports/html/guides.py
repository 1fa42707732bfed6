"""What is written and drawn over a panel: its title, limits, and the steady window."""

from __future__ import annotations

import math
from typing import Any

from ..model import Axis, Chart, Guide, Panel, Zone
from .axes import axis_number, escaped


def panel_title(y: Axis, domain: tuple[float, float]) -> dict[str, Any]:
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


def guide_line(guide: Guide, at: int, domain: tuple[float, float]) -> dict[str, Any]:
    line = {"color": "var(--ink)", "width": 1.5, "dash": "dash"}
    if guide.axis == "x":
        ends = {"x0": guide.value, "x1": guide.value, "y0": domain[0], "y1": domain[1]}
        return {"type": "line", "xref": "x", "yref": "paper", "line": line, **ends}
    ends = {"x0": 0, "x1": 1, "y0": guide.value, "y1": guide.value}
    return {"type": "line", "xref": "paper", "yref": f"y{axis_number(at)}", "line": line, **ends}


def guide_label(guide: Guide, at: int, domain: tuple[float, float], chart: Chart) -> dict[str, Any]:
    label: dict[str, Any] = {
        "text": escaped(guide.label),
        "showarrow": False,
        "font": {"color": "var(--ink)"},
        "bgcolor": "var(--ground)",
        "opacity": 0.9,
    }
    if guide.axis == "x":
        # Plotly places annotations of a log axis by the logarithm.
        value = math.log10(guide.value) if chart.x.log else guide.value
        on_top = _is_low(chart.panels[at - 1], guide.value)  # counted from 1
        y = domain[1] - 0.05 if on_top else domain[0] + 0.05
        place = {"xref": "x", "yref": "paper", "x": value, "y": y}
        far = guide.value > 0.6 * max(max(one.x) for one in chart.series if one.x)
        side = {"xanchor": "right", "xshift": -4} if far else {"xanchor": "left", "xshift": 4}
        return {**label, **place, **side, "yanchor": "top" if on_top else "bottom"}
    place = {"xref": "paper", "yref": f"y{axis_number(at)}", "x": 0, "y": guide.value}
    return {**label, **place, "xanchor": "left", "yanchor": "top", "xshift": 4, "yshift": -2}


def _is_low(panel: Panel, x: float) -> bool:
    """Whether a label at the foot of a line at `x` would hide a curve of shares, and one at its top
    would not."""
    shares = [
        max((y for at, y in zip(one.x, one.y, strict=True) if at <= x), default=0.0)
        for one in panel.series
        if one.mark == "step"
    ]
    high = panel.y.high or math.inf
    return any(one < 0.2 * high for one in shares) and all(one < 0.7 * high for one in shares)


def zone_band(zone: Zone, at: int, domain: tuple[float, float]) -> dict[str, Any]:
    """Behind what panel `at` draws."""
    x, y = zone.x or (0.0, 1.0), zone.y or domain
    return {
        "type": "rect",
        "layer": "below",
        "xref": "x" if zone.x else "paper",
        "yref": f"y{axis_number(at)}" if zone.y else "paper",
        "x0": x[0],
        "x1": x[1],
        "y0": y[0],
        "y1": y[1],
        "fillcolor": "var(--zone)",
        "line": {"width": 0},
    }


def band(low: float, high: float) -> dict[str, Any]:
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
