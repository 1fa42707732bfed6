"""`llmbench claims`: what people say, and whether it is so."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..options.run import is_typed, refused
from .console import STYLES, TerminalConsole, foreign
from .earlier import Overwrite, check_claims, refuse_overwrite
from .exits import Exit, say, say_error
from .figures import Figures, draw
from .output import AsJson, Quiet, write_texts

if TYPE_CHECKING:
    from ...reports.claims_model import Claim

EPILOG = "\n\n".join(
    (
        "[bold]Examples[/]",
        "llmbench claims   [dim]all four, simulated on the cards they are about and measured here "
        "with the bundled model[/]",
        "llmbench claims --model smollm2-135m --out runs/claims   [dim]claims.html, .md, .json[/]",
        "llmbench claims kv-waste sub-100-ms --simulated   [dim]these two, measuring nothing[/]",
    )
)
_MARKS = {True: "[green]✓[/]", False: "[red]✕[/]", None: "[dim]?[/]"}


def claims(
    context: typer.Context,
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[CLAIM]...",
            help="kv-waste, in-flight, int4 or sub-100-ms; all where none is named.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        str, typer.Option(help="What is measured here; as for 'llmbench run'.")
    ] = "bundled",
    simulated: Annotated[
        bool, typer.Option("--simulated", help="Measure nothing on this machine.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="Write claims.html, .md and .json into this directory.")
    ] = None,
    figures: Figures = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Confirm or refute what people say of serving: paging, in-flight batching, INT4, 100 ms.

    Each claim is held against runs that change one thing, with the commands that make them again.
    """
    from ..claims.examine import examine_claims
    from ..rendering import claims_reports
    from ..storage.json_text import json_text
    from .progress import watching

    if simulated and is_typed(context, "model"):
        raise refused(context, "model", "only without --simulated: nothing is measured")
    refuse_overwrite(context)
    command = shlex.join(["llmbench", *sys.argv[1:]])
    if out is not None:
        check_claims(out, command, overwrite=overwrite)
    told = _print if not as_json else _nothing
    with watching(quiet=quiet or as_json) as watch:
        try:
            found = examine_claims(
                names or (), model, watch, measure=not simulated, command=command, told=told
            )
        except KeyboardInterrupt:
            say_error("interrupted before every claim was examined: nothing is saved")
            raise typer.Exit(Exit.INTERRUPTED) from None
    if out is not None:
        write_texts(out, claims_reports(found))
    if figures is not None:
        from ...reports.claims_report import claims_report

        draw(claims_report(found), figures)
    if as_json:
        from dataclasses import asdict

        print(json_text(asdict(found)))
        return
    console = TerminalConsole()
    for note in found.notes:
        console.print(f"[yellow]note[/] {foreign(note)}")
    if out is not None:
        say(f"\n[bold]report[/]  {foreign(out / 'claims.html')}")


def _nothing(_: Claim) -> None: ...


def _print(claim: Claim) -> None:
    """The verdict, and under it what it rests on."""
    from ...reports.claims_model import VERDICTS

    console = TerminalConsole()
    word, tone = VERDICTS[claim.verdict]
    console.print(f"[bold]“{foreign(claim.says)}”[/]  [{STYLES[tone]}]{word}[/]")
    for one in claim.evidence:
        how = "simulated" if one.simulated else "measured"
        console.print(f"{_MARKS[one.held]} {foreign(one.found)}")
        console.print(f"  [dim]{how}: {foreign(one.setting)}[/]")
    console.print()
