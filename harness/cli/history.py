"""`llmbench history`: the trend of stored runs, and where it stepped."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ..history.trends import History

EPILOG = "\n\n".join(
    (
        "[bold]Examples[/]",
        "llmbench history runs/nightly",
        "llmbench history runs/nightly --metric ttft.p99 --plot history.html",
    )
)


def history(
    directories: Annotated[
        list[Path], typer.Argument(help="Runs, or directories with runs below them.")
    ],
    metric: Annotated[
        list[str] | None,
        typer.Option(
            help="METRIC.STAT; repeat for more. Default: output_throughput.run, ttft.mean, "
            "tpot.mean."
        ),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Also draw it: a .html, .png or .svg file.")
    ] = None,
) -> None:
    """The trend of stored runs, by kind (equal settings and requests), with the steps that are no
    chance: the energy distance of what is before and after, against shuffles.

    A step says that the level changed, not why: another machine, another night or another commit.
    """
    from ...engines.errors import ConfigError
    from ..gate.text import one_line
    from ..history.text import describe_step, shown, sparkline, unit
    from ..history.trends import METRICS, history_of
    from .exits import say

    if plot is not None and plot.suffix not in (".html", ".png", ".svg"):
        raise ConfigError("plot", str(plot), "a file that ends in .html, .png or .svg")
    found = history_of(directories, metric or METRICS)
    kind = ""
    for trend in found.trends:
        if trend.kind != kind:
            kind = trend.kind
            print(f"{one_line(kind)}: {len(trend.points)} runs")
        values = [point.value for point in trend.points]
        ends = f"{shown(trend, values[0])} -> {shown(trend, values[-1])} {unit(trend)}".rstrip()
        print(f"  {trend.quantity.name:<24} {sparkline(values)}  {ends}")
        for step in trend.steps:
            print(f"    {one_line(describe_step(trend, step))}")
    for line in found.left_out:
        say(f"left out: {one_line(line)}".replace("[", "\\["))
    if plot is not None:
        _draw(found, plot)


def _draw(found: History, plot: Path) -> None:
    from ..history.figure import save_figure
    from ..history.page import render_page
    from ..store import StoreError

    try:
        if plot.suffix == ".html":
            plot.write_text(render_page(found), encoding="utf-8")
        else:
            save_figure(found, plot)
    except OSError as error:
        raise StoreError("plot", plot, f"cannot be written: {error.strerror}") from error
