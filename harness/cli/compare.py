"""`llmbench compare`: runs side by side."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from .console import foreign
from .exits import say
from .output import write_texts


def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(
            help="Directories of runs, or result files of vLLM, aiperf and guidellm; the first is "
            "the baseline."
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="Write comparison.html and comparison.md into this directory."),
    ] = None,
    allow_invalid: Annotated[
        bool, typer.Option(help="Compare runs that are not valid, too, and say so.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Put runs side by side: what differs in their settings, and what that did.

    Exit code 3 if a run is not valid.

    Examples: llmbench compare runs/paged runs/inflight --out runs/comparison;
    llmbench compare runs/paged vllm-result.json artifacts/profile_export_aiperf.json
    """
    from ..compare import compare as compare_runs
    from ..interchange import read_run
    from ..json_text import json_text
    from ..views import comparison_reports

    stored = [read_run(path) for path in runs]
    comparison = compare_runs(stored, allow_invalid=allow_invalid)
    if out is not None:
        write_texts(out, comparison_reports(stored, comparison))
    if as_json:
        print(json_text(asdict(comparison), default=str))
        return
    from .tables import print_comparison

    print_comparison(comparison)
    if out is not None:
        say(f"\n[bold]report[/]  {foreign(out / 'comparison.html')}")
