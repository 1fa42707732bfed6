"""`llmbench calibrate`: from stored runs to a cost model of this machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .console import TerminalConsole, foreign, numbers
from .exits import say
from .output import write_text

if TYPE_CHECKING:
    from ...engines.cost.calibrated import Calibration
    from ..simulation.twin import Held


def calibrate(
    runs: Annotated[list[Path], typer.Argument(help="Directories of runs on this machine.")],
    out: Annotated[Path, typer.Option(help="The file to write, JSON.")] = Path("calibration.json"),
    check: Annotated[
        Path | None,
        typer.Option(
            help="A run that the fit is not to see: it is simulated, and how far its means are "
            "from what was measured stands in the file and in every report made with it."
        ),
    ] = None,
) -> None:
    """Fit step times to the steps of stored runs, for simulating their engine and model.

    Runs must share model, dtype, quantisation, KV layout, kernels and machine. Steps longer than
    any measured are extrapolated: measure prompts and batches like those to be simulated.

    Example: llmbench calibrate runs/a runs/b --check runs/c --out calibration.json
    """
    from dataclasses import replace

    from ...engines.cost.calibrated import calibration_text
    from ..simulation.calibrate import calibrate_runs
    from ..storage.store import load_run
    from ..storage.whole_file import check_writable

    check_writable("out", out)
    made = calibrate_runs([load_run(path) for path in runs])
    _print_errors(made)
    if check is not None:
        from ..run.watch import Silent
        from ..simulation.twin import hold_against
        from ..simulation.twin_prompts import unknown_of

        unseen = load_run(check)
        held = hold_against(made, unseen, Silent())
        made = replace(made, run_error={one.quantity: one.error for one in held})
        _print_held(held)
        for caution in unknown_of(unseen):
            say(f"[yellow]note[/] {foreign(caution)}")
    write_text(out, calibration_text(made))
    say(f"\n[bold]calibration[/]  {foreign(out)}")


def _print_errors(made: Calibration) -> None:
    from ...reports.format import rounded_percent

    console = TerminalConsole()
    console.print(f"[bold]{foreign(made.model)}[/] on {foreign(made.machine)}: {made.steps} steps")
    table = numbers("held-out steps", "steps", "median error", "p90", "bias")
    for phase, error in made.errors.items():
        table.add_row(
            phase,
            str(error.steps),
            rounded_percent(error.median, 1),
            rounded_percent(error.p90, 1),
            rounded_percent(error.bias, 1, signed=True),
        )
    console.print(table)


def _print_held(held: Sequence[Held]) -> None:
    from rich.table import Table

    from ...reports.format import rounded_percent, scale_of
    from ..comparison.quantities import find_quantity

    table = Table("a run it has not seen", "measured", "simulated", "error", box=None)
    for column in table.columns[1:]:
        column.justify = "right"
    for one in held:
        scale = scale_of(find_quantity("check", one.quantity).unit, (one.measured, one.predicted))
        values = (scale.quantity(one.measured), scale.quantity(one.predicted))
        table.add_row(one.quantity, *values, rounded_percent(one.error, 1, signed=True))
    console = TerminalConsole()
    console.print()
    console.print(table)
