from __future__ import annotations

import pytest
from llmbench.reports.html.figure import figure
from llmbench.reports.model import Axis, Chart, Guide, Panel, Series

from .charts import one_panel


@pytest.mark.parametrize(("shares", "anchor"), [((5.0, 100.0), "top"), ((50.0, 100.0), "bottom")])
def test_the_label_of_a_limit_hides_no_curve(shares: tuple[float, float], anchor: str) -> None:
    """Known wrong here: "SLO 200 ms" over the curve from 4 to 9 %."""
    curve = Series("TTFT", "latency", "step", (1.0, 1000.0), shares)
    panel = Panel(Axis("Share", "%", high=100.0), (curve,), (Guide("x", 100.0, "SLO 100 ms"),))
    chart = Chart("one", "One", "Read.", Axis("TTFT", "ms", log=True), (panel,))
    annotations = figure(chart)["layout"]["annotations"]
    (label,) = (one for one in annotations if one["text"] == "SLO 100 ms")
    assert label["yanchor"] == anchor
    assert (label["y"] > 0.5) == (anchor == "top")


def test_a_guide_on_a_log_axis_is_labelled_at_its_logarithm() -> None:
    curve = Series("TTFT", "latency", "step", (1.0, 1000.0), (50.0, 100.0))
    guide = Guide("x", 100.0, "SLO 100 ms")
    layout = figure(one_panel(curve, x=Axis("TTFT", "ms", log=True), guides=(guide,)))["layout"]
    (line,) = layout["shapes"]
    assert line["x0"] == 100.0
    (label,) = (one for one in layout["annotations"] if one["text"] == "SLO 100 ms")
    assert label["x"] == 2.0
