from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import plotly.graph_objects as go
import pytest
from llmbench.reports.comparison_report import comparison_report
from llmbench.reports.html.figure import figure, keys, log_ticks
from llmbench.reports.model import Axis, Chart, Guide, Panel, Run, Series
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


def one_panel(*series: Series, x: Axis | None = None, **panel: Any) -> Chart:
    axes = Panel(Axis("Latency", "ms"), series, **panel)
    return Chart("one", "One", "Read.", x or Axis("Time", "s"), (axes,))


def test_names_are_escaped_where_plotly_reads_markup() -> None:
    points = Series("<b>x</b>", "latency", "point", (1.0,), (2.0,), labels=("<a href='x'>",))
    (trace,) = figure(one_panel(points))["data"]
    assert trace["name"] == "&lt;b&gt;x&lt;/b&gt;"
    assert trace["text"] == ["&lt;a href=&#x27;x&#x27;&gt;"]


def test_a_guide_on_a_log_axis_is_labelled_at_its_logarithm() -> None:
    curve = Series("TTFT", "latency", "step", (1.0, 1000.0), (50.0, 100.0))
    guide = Guide("x", 100.0, "SLO 100 ms")
    layout = figure(one_panel(curve, x=Axis("TTFT", "ms", log=True), guides=(guide,)))["layout"]
    (line,) = layout["shapes"]
    assert line["x0"] == 100.0
    (label,) = (one for one in layout["annotations"] if one["text"] == "SLO 100 ms")
    assert label["x"] == 2.0


def test_areas_of_a_panel_stack_and_one_alone_is_filled() -> None:
    areas = [Series(name, name, "area", (0.0, 1.0), (1.0, 0.0)) for name in ("prefill", "decode")]
    assert {trace["stackgroup"] for trace in figure(one_panel(*areas))["data"]} == {"panel1"}
    (alone,) = figure(one_panel(areas[0]))["data"]
    assert alone["fill"] == "tozeroy"
    assert alone["line"]["shape"] == "hv"


def test_a_legend_is_left_out_only_where_axes_say_as_much(run: Run) -> None:
    charts = {chart.id: chart for chart in run_report(run).charts}
    assert keys(charts["timeline"]) == ()
    assert [key.name for key in keys(charts["kv"])] == ["Useful", "Reserved", "Internal"]
    assert [key.role for key in keys(charts["latency-over-time"])] == ["latency", "preempted"]
    runs = compared_runs(2)
    drawn = {chart.id: chart for chart in comparison_report(runs, comparison_of(runs)).charts}
    assert keys(drawn.pop("trade-off")) == ()
    assert [key.dash for key in keys(next(iter(drawn.values())))] == ["solid", "dash"]


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ([3.0, 80.0], [2.0, 5.0, 10.0, 20.0, 50.0, 100.0]),
        ([0.0], []),
        ([2.0, 3284.0], [1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0]),
        ([1.0, 1e6], [1.0, 10.0, 100.0, 1e3, 1e4, 1e5, 1e6]),
    ],
)
def test_log_ticks(values: list[float], ticks: list[float]) -> None:
    assert log_ticks(values) == pytest.approx(ticks)


def test_points_with_their_names_beside_them_need_no_legend() -> None:
    def chart(label: str) -> Chart:
        series = Series("paged", "run_1", "named", (1.0,), (2.0,), (label,))
        other = replace(series, name="inflight", labels=("inflight",))
        return Chart("c", "C", "", Axis("x"), (Panel(Axis("y"), (series, other)),))

    assert keys(chart("paged")) == ()
    assert [key.name for key in keys(chart("p50"))] == ["paged", "inflight"]
