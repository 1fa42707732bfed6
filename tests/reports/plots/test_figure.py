from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import matplotlib
import pytest
from llmbench.reports.comparison_report import comparison_report
from llmbench.reports.model import Axis, Chart, Guide, Panel, Run, Series, Zone
from llmbench.reports.palette import run_role
from llmbench.reports.plots import save_charts
from llmbench.reports.plots.figure import draw
from llmbench.reports.plots.workload import save_workload_plot
from llmbench.reports.run_report import run_report

from ..comparisons import compared_runs, comparison_of
from ..conftest import Load, make_run, without_requests


def test_every_chart_of_a_run_becomes_a_file(tmp_path: Path) -> None:
    run = make_run("small", Load(num_requests=6))
    written = save_charts(run_report(run).charts, tmp_path / "plots", formats=("svg", "png"))
    ids = [chart.id for chart in run_report(run).charts]
    assert [path.name for path in written] == [
        f"{name}.{extension}" for name in ids for extension in ("svg", "png")
    ]
    assert written[1].read_bytes().startswith(b"\x89PNG")
    texts = "".join(ElementTree.parse(written[0]).getroot().itertext())
    assert "TTFT (ms)" in texts
    assert "SLO 200 ms" in texts


def test_the_same_chart_gives_the_same_file(run: Run, tmp_path: Path) -> None:
    chart = run_report(run).charts[0]
    (one,) = save_charts([chart], tmp_path / "a", ("svg",))
    (other,) = save_charts([chart], tmp_path / "b", ("svg",))
    assert one.read_bytes() == other.read_bytes()


def test_drawing_leaves_matplotlib_as_it_was(tmp_path: Path) -> None:
    before = dict(matplotlib.rcParams)
    save_charts(run_report(make_run("small", Load(num_requests=2))).charts, tmp_path)
    assert dict(matplotlib.rcParams) == before


def test_a_chart_draws_what_it_holds(any_run: Run) -> None:
    for chart in run_report(any_run).charts:
        axes = draw(chart).axes
        assert len(axes) == len(chart.panels)
        assert axes[-1].get_xlabel() == chart.x.label
        assert all(one.has_data() for one in axes)


def test_comparisons_draw_too() -> None:
    runs = compared_runs(3)
    charts = comparison_report(runs, comparison_of(runs)).charts
    assert all(draw(chart).axes[0].has_data() for chart in charts)


def test_panels_share_a_legend_that_lies_over_nothing() -> None:
    lines = tuple(
        Series(f"run-{at}", run_role(at), "line", (1.0, 2.0), (1.0, 2.0)) for at in range(7)
    )
    panels = (Panel(Axis("TTFT", "ms"), lines), Panel(Axis("TPOT", "ms"), lines))
    figure = draw(Chart("two", "Two", "Read.", Axis("Rate"), panels))
    figure.canvas.draw()
    assert not any(axes.get_legend() for axes in figure.axes)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [one.name for one in lines]
    box = legend.get_window_extent()
    others = [*figure.texts, *figure.axes]
    assert not any(box.overlaps(one.get_tightbbox()) for one in others)


def test_an_axis_writes_its_numbers_with_one_number_of_decimals() -> None:
    line = Series("a", run_role(0), "line", (0.0, 1.0), (0.0, 1.2))
    (axes,) = draw(Chart("one", "One", "Read.", Axis("Rate"), (Panel(Axis("x"), (line,)),))).axes
    axes.yaxis.get_major_formatter().set_axis(axes.yaxis)
    assert axes.yaxis.get_major_formatter().format_ticks([0.8, 1.0, 1.2]) == ["0.8", "1.0", "1.2"]
    many = axes.yaxis.get_major_formatter().format_ticks([0.0, 500.0, 1000.0])
    assert many == ["0", "500", "1\u202f000"]


def test_nothing_to_draw_writes_nothing(tmp_path: Path) -> None:
    assert save_charts(run_report(without_requests()).charts, tmp_path) == []


@pytest.mark.parametrize("name", [r"$\foo$", "a$b$c", "_mine", r"\$5", "$_x$"])
def test_a_name_is_written_as_it_is_everywhere(name: str, tmp_path: Path) -> None:
    """Whoever called it so: matplotlib takes dollars for a formula, and leaves out of a legend what
    begins with an underscore."""
    shown = Series(name, run_role(1), "line", (1.0, 2.0), (1.0, 2.0))
    beside = replace(shown, name="beside", role=run_role(2), mark="named", labels=(name, name))
    bars = Series(name, run_role(1), "bar", (1.0,), (0.0,))
    zone = Zone(name, x=(1.0, 2.0))
    guide = Guide("x", 1.5, name)
    panel = Panel(Axis(name), (shown, beside), (guide,), (zone,))
    charts = [
        Chart("lines", name, "", Axis(name), (panel,)),
        Chart("bars", name, "", Axis(name), (Panel(Axis("", categories=(name,)), (bars,)),)),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lines, _, of_bars, _ = save_charts(charts, tmp_path, ("svg", "png"))
    # Title, both axes, the legend's line and zone, the guide, and beside two points.
    assert _texts(lines).count(name) == 8
    assert _texts(of_bars).count(name) == 3


def test_a_workload_is_called_on_its_plot_as_it_is(tmp_path: Path) -> None:
    plot = tmp_path / "p.svg"
    save_workload_plot(plot, r"$\foo$", 1.0, [1.0, 2.0], [10, 20], [1, 2])
    assert r"$\foo$" in _texts(plot)


def test_the_lengths_of_a_workload_are_numbers_and_no_formulas(tmp_path: Path) -> None:
    plot = tmp_path / "p.svg"
    save_workload_plot(plot, "mine", 1.0, [1.0, 2.0], [3, 800], [1, 2000])
    texts = _texts(plot)
    assert {"10", "100", "1\u202f000"} <= set(texts)
    assert not [text for text in texts if "$" in text]


def _texts(figure: Path) -> list[str]:
    return [text for text in ElementTree.parse(figure).getroot().itertext() if text.strip()]
