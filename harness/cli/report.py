"""`llmbench report`: write the reports of stored runs again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .console import foreign
from .exits import say

if TYPE_CHECKING:
    from ..store import StoredRun


def report(
    runs: Annotated[list[Path], typer.Argument(help="Directories of runs.")],
    figures: Annotated[
        Path | None,
        typer.Option(help="Also draw each chart as SVG and PNG, for papers, into this directory."),
    ] = None,
) -> None:
    """Rebuild report.html and report.md of each run from what it stored.

    Example: llmbench report runs/demo --figures figures
    """
    from ..store import load_run, write_reports
    from ..views import run_reports

    # All are read before any is written: a wrong path changes nothing.
    stored = [load_run(path) for path in runs]
    for run in stored:
        name = run.directory.resolve().name
        write_reports(run.directory, run_reports(name, run.result, run.requests, run.steps))
        say(f"[bold]report[/]  {foreign(run.directory / 'report.html')}")
        if figures is not None:
            _draw(name, run, figures)


def _draw(name: str, run: StoredRun, figures: Path) -> None:
    from ...reports.plots import save_plots
    from ..store import StoreError
    from ..views import run_view

    view = run_view(name, run.result, run.requests, run.steps)
    try:
        drawn = save_plots(view, figures / name, formats=("svg", "png"))
    except OSError as error:
        raise StoreError("figures", figures, f"cannot be written: {error.strerror}") from error
    say(f"[bold]figures[/] {len(drawn)} files in {foreign(figures / name)}")
