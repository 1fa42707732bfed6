"""`llmbench report`: write the reports of stored runs again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...engines.errors import ConfigError
from .console import foreign
from .exits import say
from .figures import draw
from .output import write_ab, write_texts

if TYPE_CHECKING:
    from ..storage.store import StoredRun

EPILOG = "\n\n".join(
    (
        "[bold]Examples[/]",
        "llmbench report runs/demo --figures figures",
        "llmbench report runs/five   [dim]of 'run --repeats 5': its repeats, and their summary[/]",
        "llmbench report ab.json   [dim]of 'ab --out': ab.html beside it[/]",
        "llmbench report --schema",
    )
)


def report(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Directories of runs, or of runs that were repeated; files of 'ab --out'."
        ),
    ] = None,
    figures: Annotated[
        Path | None,
        typer.Option(
            help="Also draw each chart as SVG and PNG, for papers, into a folder for each run here."
        ),
    ] = None,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON Schema of result.json, and no more.")
    ] = False,
) -> None:
    """Rebuild report.html and report.md of each run from what it stored; of a repeated run, those
    of its repeats, and repeats.html, .md and .json; of a file of 'ab --out', a page beside it.
    """
    if schema:
        from ..result import json_schema

        print(json.dumps(json_schema(), indent=2, allow_nan=False))
        return
    if not runs:
        allowed = "the directory of at least one run, a file of 'ab --out', or --schema"
        raise ConfigError("runs", "", allowed)
    _rebuild(runs, figures)


def _rebuild(runs: list[Path], figures: Path | None) -> None:
    from ..ab.stored import read_comparison
    from ..ab.view import view_of
    from ..rendering import repeats_reports, run_reports
    from ..repeats.directory import find_repeats, holds_repeats
    from ..repeats.pool import pool
    from ..storage.store import RESULT_FILE, load_run, write_reports

    # All are read before any is written: a wrong path changes nothing.
    files = [path for path in runs if path.is_file() and path.name != RESULT_FILE]
    directories = [path for path in runs if path not in files]
    turns = {_of_turns(path): view_of(*read_comparison(path, field="runs")) for path in files}
    repeated = [find_repeats(path) for path in directories if holds_repeats(path)]
    stored = [load_run(path) for path in directories if not holds_repeats(path)]
    stored += [run.load() for one in repeated for run in one.runs]
    folders = _folders(
        [*(run.directory for run in stored), *(path.with_suffix("") for path in turns)],
        {run.directory for one in repeated for run in one.runs},
    )
    for run in stored:
        name = run.directory.resolve().name
        write_reports(run.directory, run_reports(name, run.result, run.requests, run.steps))
        say(f"[bold]report[/]  {foreign(run.directory / 'report.html')}")
        if figures is not None:
            _draw(name, run, figures / folders[run.directory])
    for one in repeated:
        write_texts(one.directory, repeats_reports(pool(one)))
        say(f"[bold]report[/]  {foreign(one.directory / 'repeats.html')}")
    for path, ab in turns.items():
        place = None if figures is None else figures / folders[path.with_suffix("")]
        write_ab(ab, path.with_suffix(".html"), place)


def _of_turns(path: Path) -> Path:
    """The file of a comparison by turns, whose page is called like it. Raises ConfigError for one
    that the page would replace."""
    if path.suffix == ".html":
        raise ConfigError("runs", str(path), "a name that does not end as that of its page")
    return path.resolve()


def _folders(directories: list[Path], repeats: set[Path]) -> dict[Path, str]:
    """Where the figures of each run go: a folder of its name, under those of its parents as far as
    names do not tell runs apart, and of a repeat always under its run's."""
    from ..comparison.compare import names_of

    different = list(dict.fromkeys(directories))
    return {
        path: f"{path.parent.name}/{name}" if path in repeats and name == path.name else name
        for path, name in zip(different, names_of(different), strict=True)
    }


def _draw(name: str, run: StoredRun, folder: Path) -> None:
    from ...reports.run_report import run_report
    from ..rendering import run_view

    draw(run_report(run_view(name, run.result, run.requests, run.steps)), folder)
