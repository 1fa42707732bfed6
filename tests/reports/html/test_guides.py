from __future__ import annotations

from llmbench.reports.html.figure import figure
from llmbench.reports.model import Axis, Guide, Series

from .charts import one_panel


def test_a_guide_on_a_log_axis_is_labelled_at_its_logarithm() -> None:
    curve = Series("TTFT", "latency", "step", (1.0, 1000.0), (50.0, 100.0))
    guide = Guide("x", 100.0, "SLO 100 ms")
    layout = figure(one_panel(curve, x=Axis("TTFT", "ms", log=True), guides=(guide,)))["layout"]
    (line,) = layout["shapes"]
    assert line["x0"] == 100.0
    (label,) = (one for one in layout["annotations"] if one["text"] == "SLO 100 ms")
    assert label["x"] == 2.0
