from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import plotly.graph_objects as go
from llmbench.reports.comparison_report import comparison_report
from llmbench.reports.html.figure import figure, keys
from llmbench.reports.model import Axis, Chart, Panel, Run, Series
from llmbench.reports.palette import theme
from llmbench.reports.run_report import run_report

from ..comparisons import compared_runs, comparison_of


def coloured(value: Any, colours: dict[str, str]) -> Any:
    """What the page's script does."""
    if isinstance(value, str) and value.startswith("var(--"):
        return colours[value[6:-1]]
    if isinstance(value, dict):
        return {key: coloured(item, colours) for key, item in value.items()}
    if isinstance(value, list):
        return [coloured(item, colours) for item in value]
    return value


def check(chart: Chart) -> None:
    """Plotly's own validators know every property, and JSON has no NaN."""
    drawn = figure(chart)
    json.dumps(drawn, allow_nan=False)
    go.Figure(coloured(drawn, theme("dark")))


def test_plotly_accepts_every_chart(any_run: Run) -> None:
    for chart in run_report(any_run).charts:
        check(chart)


def test_plotly_accepts_every_chart_of_a_comparison() -> None:
    runs = compared_runs(3)
    for chart in comparison_report(runs, comparison_of(runs)).charts:
        check(chart)


def test_a_legend_is_left_out_only_where_axes_say_as_much(run: Run) -> None:
    charts = {chart.id: chart for chart in run_report(run).charts}
    assert keys(charts["timeline"]) == ()
    assert [key.name for key in keys(charts["kv"])] == ["Useful", "Reserved", "Internal"]
    assert [key.role for key in keys(charts["latency-over-time"])] == ["latency", "preempted"]
    runs = compared_runs(2)
    drawn = {chart.id: chart for chart in comparison_report(runs, comparison_of(runs)).charts}
    assert keys(drawn.pop("trade-off")) == ()
    assert [key.look for key in keys(next(iter(drawn.values())))] == ["solid", "dash"]


def test_points_with_their_names_beside_them_need_no_legend() -> None:
    def chart(label: str) -> Chart:
        series = Series("paged", "run_1", "named", (1.0,), (2.0,), (label,))
        other = replace(series, name="inflight", labels=("inflight",))
        return Chart("c", "C", "", Axis("x"), (Panel(Axis("y"), (series, other)),))

    assert keys(chart("paged")) == ()
    assert [key.name for key in keys(chart("p50"))] == ["paged", "inflight"]
