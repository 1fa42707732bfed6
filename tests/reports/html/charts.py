"""Charts of one panel."""

from __future__ import annotations

from typing import Any

from llmbench.reports.model import Axis, Chart, Panel, Series


def one_panel(*series: Series, x: Axis | None = None, **panel: Any) -> Chart:
    axes = Panel(Axis("Latency", "ms"), series, **panel)
    return Chart("one", "One", "Read.", x or Axis("Time", "s"), (axes,))
