"""`--repeats` of `run` and `simulate`: independent runs, and what they come to together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .console import foreign
from .exits import Exit, say, say_error
from .output import say_report, verdict_of, write_texts

if TYPE_CHECKING:
    from ..repeats.directory import Repeats
    from ..repeats.run import Made, Runner
    from ..run.watch import Watch

RepeatsAsked = Annotated[
    int,
    typer.Option(
        "--repeats",
        help="Independent runs, each with requests of its own; from 2 on --out holds repeat-1, "
        "repeat-2, … and their means with intervals between runs, and the same command goes on "
        "where it stopped.",
        rich_help_panel="Measurement",
    ),
]


def run_repeated(
    runner_of: Callable[[Watch], Runner],
    directory: Path,
    repeats: int,
    seed: int,
    *,
    as_json: bool,
    quiet: bool,
) -> Exit:
    """Make what is not stored yet, pool, report, print. Returns the exit code."""
    from ..repeats.run import Labelled, run_repeats
    from ..storage.sole_writer import sole_writer
    from .progress import watching

    with sole_writer(directory):
        with watching(quiet=quiet or as_json) as watch:
            labelled = Labelled(watch)
            try:
                made = run_repeats(runner_of(labelled), directory, repeats, seed, labelled)
            except KeyboardInterrupt:
                goes_on = foreign(_goes_on(directory))
                say_error(f"interrupted: repeats that ended are kept; {goes_on}")
                return Exit.INTERRUPTED
        report_repeats(made.repeats, as_json=as_json)
    return _verdict(made, directory)


def report_repeats(repeats: Repeats, *, as_json: bool) -> None:
    """Write the reports beside the runs, and print."""
    from ..rendering import repeats_reports
    from ..repeats.pool import pool
    from ..storage.json_text import json_text
    from .repeats_tables import print_repeats

    table = pool(repeats)
    write_texts(repeats.directory, repeats_reports(table))
    if as_json:
        print(json_text(asdict(table)))
        return
    print_repeats(table)
    say_report(repeats.directory / "repeats.html")


def _verdict(made: Made, directory: Path) -> Exit:
    """The exit code. Each repeat that does not count is named with its reason; one that was cut
    short just now ends the series, and says so itself."""
    last = made.last
    cut_short = last if last is not None and last.result.status == "partial" else None
    for run, reason in made.repeats.invalid:
        if cut_short is None or run.result is not cut_short.result:
            say_error(f"invalid run, in no mean: {run.directory.name}: {reason}")
    if cut_short is not None:
        code = verdict_of(cut_short)
        say(f"[dim]{foreign(_goes_on(directory))}[/]")
        return code
    return Exit.INVALID if made.repeats.invalid else Exit.OK


def _goes_on(directory: Path) -> str:
    return f"the same command with --out {directory} goes on"
