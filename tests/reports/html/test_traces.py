from __future__ import annotations

from llmbench.reports import step_charts
from llmbench.reports.html.figure import figure
from llmbench.reports.model import Run, Series
from llmbench.reports.place import Place

from .charts import one_panel


def test_names_are_escaped_where_plotly_reads_markup() -> None:
    points = Series("<b>x</b>", "latency", "point", (1.0,), (2.0,), labels=("<a href='x'>",))
    (trace,) = figure(one_panel(points))["data"]
    assert trace["name"] == "&lt;b&gt;x&lt;/b&gt;"
    assert trace["text"] == ["&lt;a href='x'&gt;"]


def test_quotes_stay_quotes_for_plotly_knows_no_entity_of_them() -> None:
    points = Series("a \"co\" & 'b'", "latency", "point", (1.0,), (2.0,))
    (trace,) = figure(one_panel(points))["data"]
    assert trace["name"] == "a \"co\" &amp; 'b'"


def test_a_point_is_opaque_ringed_by_the_ground_and_whole_on_an_axis() -> None:
    (trace,) = figure(one_panel(Series("x", "latency", "point", (0.0,), (2.0,))))["data"]
    assert trace["marker"].get("opacity", 1) == 1
    assert trace["marker"]["line"]["color"] == "var(--ground)"
    assert trace["cliponaxis"] is False


def test_areas_of_a_panel_stack_and_one_alone_is_filled() -> None:
    areas = [Series(name, name, "area", (0.0, 1.0), (1.0, 0.0)) for name in ("prefill", "decode")]
    assert {trace["stackgroup"] for trace in figure(one_panel(*areas))["data"]} == {"panel1"}
    (alone,) = figure(one_panel(areas[0]))["data"]
    assert alone["fill"] == "tozeroy"
    assert alone["line"]["shape"] == "hv"


def test_what_a_timeline_says_where_it_is_pointed_at_names_the_step(run: Run) -> None:
    chart = step_charts.timeline(Place(run))
    assert chart is not None
    for trace, series in zip(figure(chart)["data"], chart.series, strict=True):
        assert trace["text"][0] == "step 0"
        assert len(trace["text"]) == len(trace["x"])
        assert trace["hovertemplate"] == (
            f"{series.name}: %{{y:,.4~g}} tokens a step, %{{text}}<extra></extra>"
        )
