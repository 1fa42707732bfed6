"""A whole sweep as a table, and of one that was interrupted what had ended."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ...reports.format import plural
from ...reports.sweep_model import SweepTable
from .cells import Sweep, SweepInterruptedError, run_all
from .grid import Cell, shuffled
from .saturation import Saturation, SaturationGoal, SearchInterruptedError, find_saturation
from .table import sweep_table

Say = Callable[[str], None]


def sweep_grid(
    sweep: Sweep, command: str, cells: Sequence[Cell], seed: int, report: Say
) -> SweepTable:
    """Run every cell in a random order, and tell of them in the order of the grid. After Ctrl-C the
    table has the cells that ended, and says so."""
    interrupted = ""
    try:
        done = run_all(sweep, shuffled(cells, seed), report)
    except SweepInterruptedError as error:
        done = error.done
        interrupted = f"{len(done)} of {plural(len(cells), 'cell')} ended"
    by_cell = {one.cell: one for one in done}
    ended = [by_cell[cell] for cell in cells if cell in by_cell]
    return sweep_table(command, ended, interrupted=interrupted)


def sweep_rates(
    sweep: Sweep, command: str, points: Sequence[Cell], goal: SaturationGoal, report: Say
) -> SweepTable:
    """Search at every point in turn. After Ctrl-C the table has the searches that ended and the
    trials of the one under way, and says so."""
    searches: list[Saturation] = []
    interrupted = ""
    try:
        for point in points:
            searches.append(find_saturation(sweep, point, goal, report))
    except SearchInterruptedError as error:
        interrupted = f"{len(searches)} of {plural(len(points), 'search', 'searches')} ended"
        if error.so_far.trials:
            searches.append(error.so_far)
    talk = any(one.per_session is not None for one in searches)
    criterion = goal.criterion("sessions" if talk else "requests")
    return sweep_table(command, (), searches, criterion, interrupted)
