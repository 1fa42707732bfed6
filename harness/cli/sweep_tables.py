"""A sweep on a terminal: its cells, and what they come to."""

from __future__ import annotations

from rich.table import Table

from ...reports.sweep_model import SweepTable
from ...reports.sweep_report import cells_table, sweep_report, systems_text
from .console import TerminalConsole, foreign

_STYLES = {"caution": "yellow", "quiet": "dim"}


def print_sweep(sweep: SweepTable) -> None:
    """A row a cell, then the sentences that the report begins with."""
    console = TerminalConsole()
    shown = cells_table(sweep)
    table = Table(box=None, pad_edge=False)
    for column in shown.columns:
        table.add_column(foreign(column.title), justify="right" if column.numeric else "left")
    for row in shown.rows:
        table.add_row(
            *(
                f"[{_STYLES[cell.tone]}]{foreign(cell.text)}[/]"
                if cell.tone in _STYLES
                else foreign(cell.text)
                for cell in row
            )
        )
    console.print(table)
    report = sweep_report(sweep)
    if report.premise:
        console.print(f"[yellow]simulated[/] {foreign(report.premise)}", soft_wrap=True)
    elif systems := systems_text(sweep):
        console.print(f"[dim]{foreign(systems)}[/]", soft_wrap=True)
    console.print(f"[bold]{foreign(report.verdict)}[/]")
    for statement in report.statements:
        console.print(foreign(statement))
    for note in report.notes:
        console.print(f"[yellow]note[/] {foreign(note.text)}")
