"""`llmbench calibrate`: from stored runs to a cost model of this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .exits import say

if TYPE_CHECKING:
    from ...engines.cost.calibrated import Calibration


def calibrate(
    runs: Annotated[list[Path], typer.Argument(help="Directories of runs on this machine.")],
    out: Annotated[Path, typer.Option(help="The file to write, JSON.")] = Path("calibration.json"),
) -> None:
    """Fit step times to the steps of stored runs, for simulating their engine and model.

    Runs must share model, dtype, quantisation, KV layout and machine. Steps longer than any
    measured are extrapolated: measure prompts and batches like those to be simulated.

    Example: llmbench calibrate runs/a runs/b --out calibration.json
    """
    from ...engines.cost.calibrated import save_calibration
    from ..calibrate import calibrate_runs
    from ..store import load_run

    made = calibrate_runs([load_run(path) for path in runs])
    save_calibration(made, out)
    _print_errors(made)
    say(f"\n[bold]calibration[/]  {out}")


def _print_errors(made: Calibration) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    console.print(f"[bold]{made.model}[/] on {made.machine}: {made.steps} steps")
    table = Table(
        "held-out steps", "steps", "median error", "p90", "bias", box=None, pad_edge=False
    )
    for column in table.columns[1:]:
        column.justify = "right"
    for phase, error in made.errors.items():
        table.add_row(
            phase,
            str(error.steps),
            f"{error.median:.1%}",
            f"{error.p90:.1%}",
            f"{error.bias:+.1%}",
        )
    console.print(table)
