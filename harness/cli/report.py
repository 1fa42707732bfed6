"""`llmbench report`: write the reports of stored runs again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .exits import say


def report(
    runs: Annotated[list[Path], typer.Argument(help="Directories of runs.")],
) -> None:
    """Rebuild report.html and report.md of each run from what it stored.

    Example: llmbench report runs/demo
    """
    from ..store import load_run, write_reports
    from ..views import run_reports

    # All are read before any is written: a wrong path changes nothing.
    stored = [load_run(path) for path in runs]
    for run in stored:
        name = run.directory.resolve().name
        write_reports(run.directory, run_reports(name, run.result, run.requests, run.steps))
        say(f"[bold]report[/]  {run.directory / 'report.html'}")
