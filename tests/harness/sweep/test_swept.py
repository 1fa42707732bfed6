"""A sweep that Ctrl-C ends is told of as far as it came."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from llmbench.harness.rendering import sweep_reports
from llmbench.harness.sweep.cells import Starts, Sweep
from llmbench.harness.sweep.grid import Axis, Cell, grid
from llmbench.harness.sweep.saturation import SaturationGoal
from llmbench.harness.sweep.swept import sweep_grid, sweep_rates
from llmbench.reports.sweep_model import SweepTable

from .test_cells import Fake
from .test_saturation import Queueing

CELLS = grid([Axis("engine", ("a", "b", "c"))], repeats=1, seed=0)
GOAL = SaturationGoal(None, 0.05, 1.0)


def cut(starts: Starts, *, after: int) -> Starts:
    """Ctrl-C during the command after so many."""
    begun = 0

    def until_cut(words: Sequence[str], log: Path, held: int) -> int:
        nonlocal begun
        begun += 1
        if begun > after:
            return Fake(code=130, interrupted=True)(words, log, held)
        return starts(words, log, held)

    return until_cut


def swept(out: Path, starts: Starts) -> SweepTable:
    return sweep_grid(Sweep(out, ("run",), {}, starts=starts), "run", CELLS, 0, lambda _: None)


def searched(out: Path, starts: Starts, *points: Cell) -> SweepTable:
    opened = Sweep(out, ("run",), {}, starts=starts)
    return sweep_rates(opened, "run", points, GOAL, lambda _: None)


def test_an_interrupted_grid_tells_of_the_cells_that_ended_and_goes_on(tmp_path: Path) -> None:
    told = swept(tmp_path / "s", cut(Fake(), after=2))
    assert told.interrupted == "2 of 3 cells ended"
    assert not told.is_whole
    # In the order of the grid, though they ran in another.
    names = [cell.name for cell in told.cells]
    assert len(names) == 2
    assert names == sorted(names)
    reports = sweep_reports(told)
    assert "Partial: the sweep was interrupted, 2 of 3 cells ended." in reports["sweep.md"]
    assert "Partial" in reports["sweep.html"]
    rest = Fake()
    whole = swept(tmp_path / "s", rest)
    assert len(rest.started) == 1, "the same command runs what is missing, and no more"
    assert (len(whole.cells), whole.interrupted) == (3, "")
    assert "Partial" not in sweep_reports(whole)["sweep.md"]


def test_a_grid_that_is_interrupted_in_its_first_cell_has_none(tmp_path: Path) -> None:
    told = swept(tmp_path / "s", cut(Fake(), after=0))
    assert (told.cells, told.interrupted) == ((), "0 of 3 cells ended")


def test_an_interrupted_search_tells_of_the_rates_it_tried(tmp_path: Path) -> None:
    one, other = grid([Axis("engine", ("a", "b"))], repeats=1, seed=0)
    whole = searched(tmp_path / "w", Queueing(9.3), one)
    (found,) = whole.saturation
    trials = len(whole.cells)
    told = searched(tmp_path / "s", cut(Queueing(9.3), after=trials + 3), one, other)
    assert told.interrupted == "1 of 2 searches ended"
    assert told.saturation[0] == found
    assert told.saturation[1].failure == "interrupted"
    assert told.saturation[1].outcome == "unknown"
    assert len(told.cells) == trials + 3
    again = searched(tmp_path / "s", Queueing(9.3), one, other)
    assert again.interrupted == ""
    assert [point.outcome for point in again.saturation] == ["found", "found"]


def test_each_repeat_of_a_search_says_which_it_is(tmp_path: Path) -> None:
    told = searched(tmp_path / "s", Queueing(9.3), *grid([], repeats=2, seed=0))
    assert [(one.settings, one.repeat) for one in told.saturation] == [({}, 1), ({}, 2)]
    assert "over 2 searches" in sweep_reports(told)["sweep.md"]
