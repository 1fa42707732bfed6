"""Trends as a picture, for papers: one panel a trend."""

from __future__ import annotations

from pathlib import Path

from ...reports.palette import TEXT
from .text import unit
from .trends import History


def save_figure(history: History, path: Path) -> None:
    """PNG or SVG, as the name says. Raises OSError."""
    from matplotlib.figure import Figure

    rows = max(1, len(history.trends))
    figure = Figure(figsize=(8, 2.2 * rows), layout="constrained")
    panels = figure.subplots(rows, squeeze=False)[:, 0]
    for panel, trend in zip(panels, history.trends, strict=False):
        scale = 1e3 if trend.quantity.unit == "s" else 1.0
        values = [one.value * scale for one in trend.points]
        panel.plot(range(len(values)), values, marker="o", markersize=3, color=TEXT["link"].light)
        for step in trend.steps:
            ink = TEXT["bad" if trend.worsened(step) else "good"].light
            panel.axvline(step.at - 0.5, color=ink, linestyle="--")
        # A name with a dollar sign is no formula.
        panel.set_title(f"{trend.quantity.name}: {trend.kind}", fontsize=9, parse_math=False)
        panel.set_ylabel(unit(trend))
        panel.set_ylim(bottom=0)
    figure.savefig(path, dpi=150)
