"""`--figures`: the charts of a report as files, for papers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .console import foreign
from .exits import say

if TYPE_CHECKING:
    from ...reports.model import Report

Figures = Annotated[
    Path | None,
    typer.Option(
        help="Also draw each chart as SVG and PNG, for papers, into this directory.",
        rich_help_panel="Output",
    ),
]
FORMATS = ("svg", "png")


def draw(report: Report, folder: Path) -> None:
    """Every chart of a report into a folder, which is made if need be."""
    from ...reports.plots import save_charts
    from ..storage.whole_file import writing

    with writing("figures", folder):
        drawn = save_charts(report.charts, folder, FORMATS)
    say(f"[bold]figures[/] {len(drawn)} files in {foreign(folder)}")
