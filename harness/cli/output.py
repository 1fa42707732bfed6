"""What becomes of a run that was measured or simulated: stored, reported, printed, judged."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...engines.quantization.methods import quant_of
from .console import foreign
from .earlier import without_output
from .exits import Exit, say, say_error
from .figures import draw

if TYPE_CHECKING:
    from ...engines.config import EngineConfig
    from ...reports.ab_model import Ab
    from ..config import RunConfig
    from ..run.experiment import Measured
    from ..storage.store import RunOnDisk, Standing

Out = Annotated[
    Path | None,
    typer.Option(
        help="Where the result goes. Default: runs/<time>-<engine>-<quant>.",
        rich_help_panel="Output",
    ),
]
AsJson = Annotated[
    bool,
    typer.Option(
        "--json", help="Print the result as JSON on standard output.", rich_help_panel="Output"
    ),
]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Print no progress.", rich_help_panel="Output")
]


def finish(measured: Measured, directory: Path, stood: Standing, *, as_json: bool) -> Exit:
    """Store, report, print. stood: what may be replaced. Returns the exit code. Raises StoreError
    for `out`, and has printed then what was measured."""
    from ..cells.runner import store_measured
    from ..errors import StoreError

    try:
        stored = store_measured(directory, measured, stood)
    except StoreError:
        # To see the numbers takes no room on a disk, and to measure them again takes long.
        _print_result(measured, as_json=as_json)
        raise
    _print_result(measured, as_json=as_json)
    if not as_json:
        say_report(stored.directory / "report.html")
    code = verdict_of(measured)
    say_beside(directory, stored)
    return code


def say_beside(directory: Path, stored: RunOnDisk) -> None:
    """Of a run that is not where it was to go: what stands there is more of a result."""
    if stored.directory != directory.resolve():
        what = "whole" if stored.result.status == "partial" else "valid"
        kept, here = foreign(_shown(directory)), foreign(_shown(stored.directory))
        say(f"{kept} keeps its run, which is {what}: this one is {here}")


def write_texts(directory: Path, texts: Mapping[str, str]) -> None:
    """Texts by file name, each whole, into a directory that is made if need be.

    Raises StoreError for `out`.
    """
    from ..storage.directories import check_directory
    from ..storage.whole_file import write_whole, writing

    check_directory(directory)
    with writing("out", directory):
        directory.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            write_whole(directory / name, text)


def write_text(path: Path, text: str, *, field: str = "out") -> None:
    """One text, whole, and the directories above it. Raises StoreError for `field`."""
    from ..storage.whole_file import write_whole, writing

    with writing(field, path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text)


def write_ab(ab: Ab, page: Path | None, figures: Path | None) -> None:
    """The report of a comparison by turns, as far as it is asked for. Raises StoreError."""
    if page is None and figures is None:
        return
    from ...reports.ab_report import ab_report

    report = ab_report(ab)
    if page is not None:
        from ...reports.html.page import render

        write_text(page, render(report), field="html")
        say(f"[bold]report[/]  {foreign(_shown(page))}")
    if figures is not None:
        draw(report, figures)


def _print_result(measured: Measured, *, as_json: bool) -> None:
    from ..storage.json_text import json_text
    from .tables import print_run

    if as_json:
        print(json_text(measured.result.model_dump()))
    else:
        print_run(measured.result)


def say_report(page: Path) -> None:
    """Where the report is, and the command that writes all of its directory's again."""
    say(f"\n[bold]report[/]  {foreign(_shown(page))}")
    say(f"[dim]again    llmbench report {foreign(shlex.quote(_shown(page.parent)))}[/]")


def verdict_of(measured: Measured) -> Exit:
    """The exit code of a run that is stored; what is wrong with it is said."""
    result = measured.result
    if measured.failure:
        say_error(f"{measured.failure}; what was measured is saved and marked partial")
        return Exit.INVALID if result.target else Exit.OUT_OF_MEMORY
    if result.status == "partial":
        say_error("interrupted: what was measured is saved and marked partial")
        return Exit.INTERRUPTED
    if not result.validity.valid:
        for check in result.validity.failures:
            if check.fatal:
                say_error(f"invalid run: {check.detail}")
        return Exit.INVALID
    return Exit.OK


def as_asked(settings: RunConfig) -> RunConfig:
    """The settings with a command that says what was run and not where the result went, so that a
    simulated run has the same bytes wherever it is written."""
    from dataclasses import replace

    return replace(settings, command=shlex.join(["llmbench", *without_output(sys.argv[1:])]))


def directory_name(engine: EngineConfig) -> str:
    """The engine and its quantisation as one asks for it: `paged-awq+int8-head`."""
    return f"{engine.engine}-{quant_of(vars(engine))}"


def default_directory(name: str) -> Path:
    """Where a run goes whose engine, or server, is called so."""
    from datetime import datetime

    return Path("runs") / f"{datetime.now():%Y%m%d-%H%M%S}-{name}"


def _shown(path: Path) -> str:
    """Relative to where the user stands, when it lies below."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
