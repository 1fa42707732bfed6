"""A `Chart` as a matplotlib figure. No pyplot: nothing is drawn on a state that others share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import XAxis, YAxis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import (
    FixedLocator,
    Formatter,
    FuncFormatter,
    LogLocator,
    NullFormatter,
    NullLocator,
)

from ..format import THIN
from ..model import Axis, Chart, Guide, Panel, Series, Zone
from ..named_points import Side, sides
from ..palette import SURFACES, TEXT, dash_of, symbol_of
from ..palette import theme as colours_on
from ..ticks import ratio_ticks, tick_text
from .paper import add_legend, legend_name, on_paper

_LIGHT = colours_on("light")
_WIDTH_IN = {"full": 8.0, "half": 4.4}
_PANEL_IN, _BAR_IN, _FRAME_IN = 1.9, 0.45, 1.1
_DASHES = {
    "solid": "-",
    "dash": (0, (5, 2)),
    "dot": (0, (1, 1.5)),
    "dashdot": (0, (5, 2, 1, 2)),
    "longdash": (0, (8, 3)),
    "longdashdot": (0, (8, 3, 1, 3)),
}
_MARKERS = {"circle": "o", "diamond": "D", "x": "x"}


def save_charts(
    charts: Iterable[Chart], directory: Path, formats: Sequence[str] = ("svg",)
) -> list[Path]:
    """Charts as `<chart id>.<format>` in `directory`, which is made if need be.

    formats: what matplotlib writes, such as svg, png, pdf. Returns the files, in the order of the
    charts, all formats of one after each other.
    """
    directory.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for chart in charts:
        drawn = draw(chart)
        for extension in formats:
            path = directory / f"{chart.id}.{extension}"
            metadata = {"Date": None} if extension == "svg" else None
            with on_paper():
                drawn.savefig(path, dpi=160, metadata=metadata)
            written.append(path)
    return written


@on_paper()
def draw(chart: Chart) -> Figure:
    """The chart on paper: light ground, its title and reading aid left to the text around it."""
    figure = Figure(figsize=(_WIDTH_IN[chart.width], _height_in(chart)), layout="constrained")
    FigureCanvasAgg(figure)
    figure.set_facecolor(SURFACES["ground"].light)
    grid = figure.subplots(len(chart.panels), 1, sharex=True, squeeze=False)
    for axes, panel in zip(grid[:, 0], chart.panels, strict=True):
        _draw_panel(axes, panel, chart.x)
        if chart.span is not None:
            axes.axvspan(chart.span[0], chart.span[1], color=SURFACES["band"].light, zorder=0)
    intervals = any(one.mark == "interval" for one in chart.series)
    _style_x(grid[-1, 0], chart.x, intervals=intervals)
    keyed = [
        axes
        for axes, panel in zip(grid[:, 0], chart.panels, strict=True)
        if len(panel.series) > 1 or panel.zones
    ]
    if keyed:
        add_legend(figure, keyed, fontsize=8, frameon=False, ncols=3, loc="outside lower left")
    figure.suptitle(chart.title, x=0.01, ha="left", fontsize=11, color=TEXT["ink"].light)
    return figure


def _draw_panel(axes: Axes, panel: Panel, x: Axis) -> None:
    areas = [one for one in panel.series if one.mark == "area"]
    if areas:
        _draw_areas(axes, areas)
    bars = [one for one in panel.series if one.mark == "bar"]
    if bars:
        _draw_bars(axes, bars, panel.y.categories)
    intervals = [one for one in panel.series if one.mark == "interval"]
    if intervals:
        _draw_intervals(axes, intervals, panel.y.categories)
    for one in panel.series:
        if one.mark == "step":
            axes.step(
                one.x,
                one.y,
                where="post",
                label=legend_name(one.name),
                color=_LIGHT[one.role],
                linestyle=_DASHES[dash_of(one.role)],
            )
        elif one.mark == "line":
            style = {"color": _LIGHT[one.role], "linestyle": _DASHES[dash_of(one.role)]}
            axes.plot(one.x, one.y, label=legend_name(one.name), marker="o", markersize=3, **style)
        elif one.mark == "named":
            _draw_named(axes, one, sides(x, panel))
        elif one.mark == "point":
            shape = _MARKERS[symbol_of(one.role)]
            colour = _LIGHT[one.role]
            axes.scatter(
                one.x,
                one.y,
                s=9,
                marker=shape,
                color=colour,
                label=legend_name(one.name),
                zorder=3,
                clip_on=False,
            )
    for at, zone in enumerate(panel.zones):
        _draw_zone(axes, zone, named=not at)
    for guide in panel.guides:
        _draw_guide(axes, guide)
    _style_y(axes, panel.y)


def _draw_named(axes: Axes, series: Series, placed: Mapping[tuple[float, float], Side]) -> None:
    colour = _LIGHT[series.role]
    axes.scatter(
        series.x,
        series.y,
        s=36,
        color=colour,
        label=legend_name(series.name),
        zorder=3,
        clip_on=False,
    )
    away = {
        "left": (-6, 0, "right"),
        "right": (6, 0, "left"),
        "above": (0, 9, "center"),
        "below": (0, -9, "center"),
    }
    for label, point in zip(series.labels, zip(series.x, series.y, strict=True), strict=True):
        right, up, align = away[placed[point]]
        axes.annotate(
            label,
            point,
            xytext=(right, up),
            textcoords="offset points",
            ha=align,
            va="center",
            fontsize=8,
            color=TEXT["ink"].light,
            annotation_clip=False,
        )


def _draw_areas(axes: Axes, areas: Sequence[Series]) -> None:
    below = np.zeros(len(areas[0].x))
    for one in areas:
        above = below + np.asarray(one.y)
        axes.fill_between(
            one.x,
            below,
            above,
            step="post",
            color=_LIGHT[one.role],
            label=legend_name(one.name),
            linewidth=0,
        )
        below = above


def _draw_bars(axes: Axes, bars: Sequence[Series], categories: Sequence[str]) -> None:
    left = np.zeros(len(categories))
    for one in bars:
        axes.barh(
            one.y, one.x, left=left, height=0.6, color=_LIGHT[one.role], label=legend_name(one.name)
        )
        left = left + np.asarray(one.x)
    axes.set_yticks(range(len(categories)), categories)


def _draw_intervals(axes: Axes, intervals: Sequence[Series], categories: Sequence[str]) -> None:
    for one in intervals:
        x, low, high = (np.asarray(values) for values in (one.x, one.low, one.high))
        ends = np.nan_to_num(np.array([x - low, high - x]))
        axes.errorbar(
            one.x, one.y, xerr=ends, fmt="o", color=_LIGHT[one.role], label=legend_name(one.name)
        )
    axes.set_yticks(range(len(categories)), categories)
    axes.set_ylim(len(categories) - 0.5, -0.5)


def _draw_zone(axes: Axes, zone: Zone, *, named: bool) -> None:
    """named: in the legend; of several of one name one is."""
    style: dict[str, Any] = {"color": SURFACES["zone"].light, "linewidth": 0, "zorder": 0.5}
    style["label"] = legend_name(zone.name) if named else None
    if zone.x and zone.y:
        axes.fill_betweenx(zone.y, *zone.x, **style)
    elif zone.x:
        axes.axvspan(*zone.x, **style)
    elif zone.y:
        axes.axhspan(*zone.y, **style)


def _draw_guide(axes: Axes, guide: Guide) -> None:
    style = {"color": TEXT["ink"].light, "linestyle": (0, (4, 3)), "linewidth": 1.0}
    text = {"fontsize": 8, "color": TEXT["ink"].light}
    if guide.axis == "x":
        axes.axvline(guide.value, **style)
        axes.annotate(
            guide.label,
            (guide.value, 0.05),
            xycoords=("data", "axes fraction"),
            xytext=(3, 0),
            textcoords="offset points",
            **text,
        )
        return
    axes.axhline(guide.value, **style)
    axes.annotate(
        guide.label,
        (1.0, guide.value),
        xycoords=("axes fraction", "data"),
        xytext=(-2, 2),
        textcoords="offset points",
        ha="right",
        va="bottom",
        **text,
    )


def _style_y(axes: Axes, y: Axis) -> None:
    axes.set_facecolor("none")
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(SURFACES["rule"].light)
    axes.grid(axis="both", color=SURFACES["grid"].light, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8, colors=TEXT["quiet"].light, length=0)
    if y.categories:
        return
    axes.set_title(y.label, loc="left", fontsize=8, color=TEXT["quiet"].light)
    if y.log:
        axes.set_yscale("log")
        _mark_ratios(axes.yaxis, axes.dataLim.intervaly)
        return
    axes.set_ylim(0, y.high if y.high is not None else None)
    axes.yaxis.set_major_formatter(_Ticks())


def _mark_ratios(axis: XAxis | YAxis, shown: Sequence[float]) -> None:
    axis.set_major_locator(FixedLocator(ratio_ticks(shown)))
    axis.set_major_formatter(FuncFormatter(lambda tick, _: tick_text(tick)))
    axis.set_minor_locator(NullLocator())


def _style_x(axes: Axes, x: Axis, *, intervals: bool) -> None:
    axes.set_xlabel(x.label, fontsize=8, color=TEXT["quiet"].light)
    if x.log:
        axes.set_xscale("log")
        if intervals:
            _mark_ratios(axes.xaxis, axes.dataLim.intervalx)
            return
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda tick, _: tick_text(tick)))
        return
    if not intervals:
        axes.set_xlim(0.5 if x.numbered else 0, x.high if x.high is not None else None)
    axes.xaxis.set_major_formatter(_Ticks())


class _Ticks(Formatter):
    """The numbers of one linear axis, with as many decimals as the one that has most."""

    def __call__(self, value: float, pos: int | None = None) -> str:
        del pos  # where it is on the axis
        return self.format_ticks([value])[0]

    def format_ticks(self, values: Iterable[float]) -> list[str]:
        digits = [f"{value:.10f}".rstrip("0").partition(".")[2] for value in values]
        decimals = max(map(len, digits), default=0)
        return [f"{value:,.{decimals}f}".replace(",", THIN) for value in values]


def _height_in(chart: Chart) -> float:
    categories = max(len(panel.y.categories) for panel in chart.panels)
    content = _BAR_IN * categories if categories else _PANEL_IN * len(chart.panels)
    return _FRAME_IN + content
