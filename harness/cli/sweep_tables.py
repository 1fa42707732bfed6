"""A sweep on a terminal: its cells, and what they come to."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from rich.cells import cell_len
from rich.table import Table

from ...reports.model import Table as Shown
from ...reports.model import Tone
from ...reports.sweep_model import SweepTable
from ...reports.sweep_report import best_table, cells_table, sweep_report, systems_text
from .console import STYLES, TerminalConsole, foreign, printable

_GAP = "  "
# A heading is broken here, where headings of one line do not fit.
_HEAD_WIDTH = 12


def print_sweep(sweep: SweepTable) -> None:
    """A row a cell, then the sentences that the report begins with."""
    console = TerminalConsole()
    _print_cells(console, sweep)
    report = sweep_report(sweep)
    if report.premise:
        console.print(f"[yellow]{foreign(report.premise)}[/]")
    elif systems := systems_text(sweep):
        console.print(f"[dim]{foreign(systems)}[/]")
    console.print(f"[bold]{foreign(report.verdict)}[/]")
    if best := best_table(sweep):
        heads = [[column.title] for column in best.columns]
        console.print(_table(best, heads, range(len(best.columns))))
    for statement in report.statements:
        console.print(foreign(statement))
    for note in report.notes:
        console.print(f"[yellow]note[/] {foreign(note.text)}")


def _print_cells(console: TerminalConsole, sweep: SweepTable) -> None:
    """All quantities beside each other if the terminal is wide enough, and else one table below the
    other, each with the settings and as many quantities as fit."""
    shown = cells_table(sweep)
    every = range(len(shown.columns))
    heads = [[column.title] for column in shown.columns]
    if _width(shown, heads, every) <= console.width:
        console.print(_table(shown, heads, every))
        return
    heads = [textwrap.wrap(column.title, _HEAD_WIDTH) or [""] for column in shown.columns]
    settings = [at for at in every if shown.columns[at].title in (*sweep.options, "Repeat")]
    for places in _pages(shown, heads, settings, console.width):
        console.print(_table(shown, heads, places))
        console.print()


def _pages(
    shown: Shown, heads: Sequence[Sequence[str]], settings: Sequence[int], width: int
) -> Iterator[list[int]]:
    """Places of columns: the settings and at least one more, as many as `width` holds."""
    page: list[int] = []
    for at in range(len(shown.columns)):
        if at in settings:
            continue
        if page and _width(shown, heads, [*settings, *page, at]) > width:
            yield [*settings, *page]
            page = []
        page.append(at)
    yield [*settings, *page]


def _width(shown: Shown, heads: Sequence[Sequence[str]], places: Sequence[int]) -> int:
    columns = [
        max(cell_len(printable(one)) for one in (*heads[at], *(row[at].text for row in shown.rows)))
        for at in places
    ]
    return sum(columns) + len(_GAP) * (len(columns) - 1)


def _table(shown: Shown, heads: Sequence[Sequence[str]], places: Sequence[int]) -> Table:
    """Numbers are never broken; a setting is, where it alone is wider than the terminal."""
    most = max(len(heads[at]) for at in places)
    table = Table(box=None, pad_edge=False)
    for at in places:
        # Headings of one line stand beside the last line of longer ones.
        head = "\n" * (most - len(heads[at])) + "\n".join(map(foreign, heads[at]))
        numeric = shown.columns[at].numeric
        table.add_column(
            head, justify="right" if numeric else "left", no_wrap=numeric, overflow="fold"
        )
    for row in shown.rows:
        table.add_row(*(_styled(row[at].text, row[at].tone) for at in places))
    return table


def _styled(text: str, tone: Tone) -> str:
    return f"[{STYLES[tone]}]{foreign(text)}[/]" if STYLES[tone] else foreign(text)
