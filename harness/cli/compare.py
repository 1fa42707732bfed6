"""`llmbench compare`: runs side by side."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .console import foreign
from .exits import say
from .figures import Figures, draw
from .output import AsJson, write_texts

if TYPE_CHECKING:
    from ...reports.model import Comparison
    from ..run.watch import Watch
    from ..storage.store import StoredRun

EPILOG = "\n\n".join(
    (
        "[bold]Examples[/]",
        "llmbench compare runs/paged runs/inflight --out runs/comparison",
        "llmbench compare runs/five-paged runs/five-inflight   [dim]of 'run --repeats 5': pair by "
        "pair, with intervals between runs[/]",
        "llmbench compare runs/paged vllm-result.json artifacts/profile_export_aiperf.json",
    )
)


def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(
            help="Directories of runs, or of runs that were repeated, or result files of vLLM, "
            "aiperf and guidellm; the first is the baseline."
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="Write comparison.html and comparison.md into this directory."),
    ] = None,
    figures: Figures = None,
    allow_invalid: Annotated[
        bool, typer.Option(help="Compare runs that are not valid, too, and say so.")
    ] = False,
    as_json: AsJson = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print no tables and notes: the answer alone.")
    ] = False,
) -> None:
    """Put runs side by side: what differs in their settings, and what that did.

    Exit code 3 if a run is not valid.

    Runs of 'run --repeats' are held against each other pair by pair, with intervals between runs.
    """
    from ..rendering import comparison_reports, views_of
    from ..repeats.directory import all_or_none
    from ..storage.beside_runs import check_reports_directory
    from ..storage.json_text import json_text
    from .progress import watching

    if out is not None:
        check_reports_directory(out)
    if all_or_none(runs):
        stored, comparison = _repeated(runs, allow_invalid)
    else:
        with watching(quiet=as_json or quiet) as watch:
            stored, comparison = _single(runs, allow_invalid, watch)
    if out is not None:
        write_texts(out, comparison_reports(stored, comparison))
    if figures is not None:
        from ...reports.comparison_report import comparison_report

        draw(comparison_report(views_of(stored, comparison), comparison), figures)
    if as_json:
        print(json_text(asdict(comparison), default=str))
        return
    from .compare_tables import print_comparison, print_headline

    show = print_headline if quiet else print_comparison
    show(comparison)
    if out is not None:
        say(f"\n[bold]report[/]  {foreign(out / 'comparison.html')}")


def _single(
    paths: list[Path], allow_invalid: bool, watch: Watch
) -> tuple[list[StoredRun], Comparison]:
    from ..comparison.compare import compare as compare_runs
    from ..interchange import read_run

    stored = [read_run(path) for path in paths]
    return stored, compare_runs(stored, allow_invalid=allow_invalid, stage=watch.stage)


def _repeated(paths: list[Path], allow_invalid: bool) -> tuple[list[StoredRun], Comparison]:
    """The runs are those that are drawn: one of each side."""
    from ..repeats.compare import compare_repeats
    from ..repeats.directory import find_repeats

    sides = [find_repeats(path) for path in paths]
    comparison = compare_repeats(sides, allow_invalid=allow_invalid)
    assert comparison.between is not None
    shown = zip(sides, comparison.between.shown, strict=True)
    return [side.run_called(name).load() for side, name in shown], comparison
