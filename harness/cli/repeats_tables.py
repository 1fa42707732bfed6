"""A repeated run on a terminal: every quantity in each run, and over all of them."""

from __future__ import annotations

from rich.table import Table

from ...reports.format import Scale, percent, scale_of
from ...reports.repeats_model import PooledQuantity, RepeatsTable
from ...reports.repeats_report import (
    interval_text,
    repeats_report,
    spread_share,
)
from .console import TerminalConsole, foreign, numbers

# More columns than this are in the report.
_MOST_RUNS = 5
_SPREAD = "Runs ±: the standard deviation between runs, as a share of the mean."


def print_repeats(repeats: RepeatsTable) -> None:
    """The sentences that the report begins with, then a row a quantity. Why a run does not count is
    an error, and said as one."""
    console = TerminalConsole()
    report = repeats_report(repeats)
    console.print(f"[bold]{foreign(report.verdict)}[/]")
    for note in repeats.notes:
        console.print(f"[yellow]note[/] {foreign(note)}", soft_wrap=True)
    if repeats.premise:
        console.print(f"[yellow]simulated[/] {foreign(repeats.premise)}", soft_wrap=True)
    if repeats.quantities:
        console.print()
        console.print(_quantities(repeats))
    if len(repeats.counted) > 1:
        said = " ".join((*report.statements, _SPREAD))
        console.print(f"[dim]{foreign(said)}[/]", soft_wrap=True)


def _quantities(repeats: RepeatsTable) -> Table:
    """A row a quantity. A run that does not count has its name in parentheses."""
    shown = repeats.runs if len(repeats.runs) <= _MOST_RUNS else ()
    heads = [run.name if not run.failure else f"({run.name})" for run in shown]
    level = f"{percent(repeats.confidence)} interval"
    table = numbers("metric", *heads, "mean", level, "runs ±")
    for one in repeats.quantities:
        scale = _scale(one, repeats)
        table.add_row(
            foreign(one.label),
            *(scale.number(run.values[one.name]) for run in shown),
            scale.quantity(one.mean),
            foreign(interval_text(one, scale)),
            "" if (share := spread_share(one)) is None else percent(share),
        )
    return table


def _scale(one: PooledQuantity, repeats: RepeatsTable) -> Scale:
    return scale_of(one.unit, (one.mean, *(run.values[one.name] for run in repeats.runs)))
