from __future__ import annotations

import math

import pytest
from llmbench.reports.html.figure import figure, keys
from llmbench.reports.model import Axis, Chart, Guide, Panel, Series, Zone


def _ratios(*y: float) -> Chart:
    points = Series("B / A", "a_first", "point", tuple(map(float, range(len(y)))), y)
    panel = Panel(
        Axis("B / A", "×", log=True),
        (points,),
        (Guide("y", 1.0, ""), Guide("x", 1.5, "")),
        (Zone("Allowed", y=(1.0, 1.05)),),
    )
    return Chart("ratios", "Ratios", "Read.", Axis("Pair", high=3.0), (panel,))


def test_what_is_numbered_from_one_has_no_zero() -> None:
    """Known wrong here: the runs of a history began with one numbered 0."""
    line = Series("TTFT", "latency", "line", (1.0, 2.0), (4.8, 5.1))
    runs = Axis("Run", high=2.5, numbered=True)
    axis = figure(Chart("runs", "Runs", "Read.", runs, (Panel(Axis("TTFT"), (line,)),)))["layout"]
    assert axis["xaxis"]["range"] == [0.5, 2.5]
    assert (axis["xaxis"]["tick0"], axis["xaxis"]["dtick"]) == (1, 1)


@pytest.mark.parametrize("y", [(0.8, 0.9), (1.2, 1.3), (1.0, 1.0)])
def test_a_log_axis_shows_points_lines_and_zones_whole(y: tuple[float, ...]) -> None:
    axis = figure(_ratios(*y))["layout"]["yaxis"]
    assert axis["type"] == "log"
    low, high = axis["range"]
    assert low < math.log10(min(*y, 1.0))
    assert high > math.log10(max(*y, 1.05))
    assert 1.0 in axis["tickvals"]
    assert "1" in axis["ticktext"]


def test_the_ticks_of_samples_over_decades_are_short() -> None:
    line = Series("TTFT", "latency", "step", (0.02, 30.0), (50.0, 100.0))
    panel = Panel(Axis("Share", "%"), (line,))
    axis = figure(Chart("one", "One", "Read.", Axis("TTFT", "s", log=True), (panel,)))["layout"]
    assert axis["xaxis"]["ticktext"] == ["0.01", "0.03", "0.1", "0.3", "1", "3", "10", "30"]


@pytest.mark.parametrize(("high", "step"), [(100.0, 25), (None, None)])
def test_a_share_of_all_has_quarters_and_one_of_a_few_percent_ticks_of_its_own(
    high: float | None, step: int | None
) -> None:
    line = Series("waste", "latency", "line", (1.0, 2.0), (4.8, 5.1))
    panel = Panel(Axis("KV waste", "%", high=high), (line,))
    axis = figure(Chart("one", "One", "Read.", Axis("Run"), (panel,)))["layout"]["yaxis"]
    assert axis.get("dtick") == step


def test_what_has_no_point_is_not_in_the_legend() -> None:
    line = Series("TTFT", "latency", "line", (), ())
    apart = Series("disturbed, in no test", "effect_unsure", "point", (1.0,), (2.0,))
    chart = Chart("one", "One", "Read.", Axis("Run"), (Panel(Axis("TTFT", "ms"), (line, apart)),))
    assert [key.name for key in keys(chart)] == ["disturbed, in no test"]


def test_a_zone_is_shaded_behind_its_panel_and_named_in_the_legend() -> None:
    drawn = figure(_ratios(0.9, 1.1))["layout"]["shapes"]
    (zone,) = (one for one in drawn if one["type"] == "rect")
    assert (zone["xref"], zone["yref"], zone["layer"]) == ("paper", "y", "below")
    assert (zone["x0"], zone["x1"], zone["y0"], zone["y1"]) == (0.0, 1.0, 1.0, 1.05)
    (key,) = (one for one in keys(_ratios(0.9, 1.1)) if one.name == "Allowed")
    assert (key.role, key.mark) == ("zone", "bar")


def test_a_zone_of_x_has_its_row_and_room_beside_it() -> None:
    row = Series("B / A", "verdict_good", "interval", (1.0,), (0.0,), ("is",), (0.99,), (1.01,))
    panel = Panel(
        Axis("Metric", categories=("TPOT",)), (row,), (), (Zone("Ok", (0.95, 1.0), (-0.4, 0.4)),)
    )
    chart = Chart("forest", "Forest", "Read.", Axis("B / A", "×", log=True), (panel,))
    layout = figure(chart)["layout"]
    (zone,) = layout["shapes"]
    assert (zone["xref"], zone["yref"]) == ("x", "y")
    assert (zone["x0"], zone["x1"], zone["y0"], zone["y1"]) == (0.95, 1.0, -0.4, 0.4)
    assert layout["xaxis"]["range"][0] < math.log10(0.95)
