"""Runs the cells of a factorial in a random order, stores each, and goes on where it stopped.

Cells are interleaved: every repeat holds each cell once, in an order of its own, so that a machine
that gets slower with time does not look like an effect (Box, Hunter and Hunter, "Statistics for
Experimenters", 2nd edition, 2005, chapter 3). The orders come from the seed.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...engines.errors import ConfigError
from ..cells.identity import Identity, place_of
from ..cells.runner import CellRunner, attempt, store_measured
from ..run.seeds import check_repeats as check_number_of_repeats
from ..run.seeds import seed_of_repeat
from ..storage.directories import check_only
from ..storage.store import RESULT_FILE, RunOnDisk, StoreError
from ..storage.whole_file import writing
from .design import Cell, Design, NotRun, level_text, refuse_lost_levels

if TYPE_CHECKING:
    from ..run.watch import Watch

CELLS = "cells"
REPORT = "ablation.json"
FILES = (REPORT, "ablation.html", "ablation.md")
_OR = "--overwrite removes this one's"


@dataclass(frozen=True)
class Turn:
    """One run to do: which cell, in which repeat (from 1), sent the requests of which seed."""

    cell: Cell
    repeat: int
    seed: int

    @property
    def directory(self) -> str:
        """The first repeat is called as its cell; the others are numbered, after a comma, which no
        level has: `delay_factor=0,repeat=2`."""
        return self.cell.name if self.repeat == 1 else f"{self.cell.name},repeat={self.repeat}"


@dataclass(frozen=True)
class Checked:
    """A design found fit to run: its turns in order, what each must be, which cells are not run."""

    design: Design
    turns: tuple[Turn, ...]
    identities: Mapping[Turn, Identity]
    not_run: tuple[NotRun, ...]


def check(design: Design, runner: CellRunner, *, repeats: int, seed: int) -> Checked:
    """Everything that can be found wrong before anything runs.

    A cell whose settings contradict each other is left out with its reason. Raises ConfigError for
    a level that no cell can have, for repeats below 1, for cells of one name, and for cells that
    would not be sent the same requests.
    """
    check_number_of_repeats(repeats)
    _check_names(design)
    not_run: list[NotRun] = []
    identities: dict[Cell, Identity] = {}
    for cell in design.cells:
        try:
            identities[cell] = runner.identify(cell.overrides, seed)
        except ConfigError as error:
            not_run.append(NotRun(cell, str(error)))
    refuse_lost_levels(design, not_run)
    _check_same_requests(identities)
    turns = _turns(list(identities), repeats, seed)
    return Checked(
        design,
        turns,
        {
            turn: identities[turn.cell]
            if turn.repeat == 1
            else runner.identify(turn.cell.overrides, turn.seed)
            for turn in turns
        },
        tuple(not_run),
    )


def check_directory(out: Path, design: Design | None) -> None:
    """Allowed: a path that does not exist yet, an empty directory, one that holds an ablation: of
    no other cells than the design has, for its report would lose them; of any, if there is no
    design. Raises StoreError."""
    check_only(out, lambda entry: entry.name in (CELLS, *FILES), "a new directory or an ablation's")
    if design is not None and (out / REPORT).exists():
        _check_report(out, {cell.name for cell in design.cells})


def _check_report(out: Path, cells: set[str]) -> None:
    instead = f"expected a new directory; {_OR}"
    try:
        told = json.loads((out / REPORT).read_text(encoding="utf-8"))
        there = [str(cell["name"]) for cell in told["cells"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError("out", out / REPORT, f"cannot be read; {instead}") from error
    if lost := [name for name in there if name not in cells]:
        raise StoreError("out", out, f"holds another ablation, with the cell {lost[0]}; {instead}")


def check_repeats(out: Path, design: Design, repeats: int) -> None:
    """A report of fewer repeats would lose the others. Raises StoreError for a stored run of one
    beyond `repeats`."""
    names = {cell.name for cell in design.cells}
    numbered: dict[int, str] = {}
    for result in (out / CELLS).glob(f"*/{RESULT_FILE}"):
        directory = result.parent.name
        name, _, number = directory.rpartition(",repeat=")
        if name in names and number.isdecimal():
            numbered[int(number)] = directory
    most = max(numbered, default=1)
    if most > repeats:
        raise StoreError(
            "out", out, f"holds {numbered[most]}; expected --repeats {most} or more; {_OR}"
        )


def has_runs(out: Path) -> bool:
    """Whether any cell's run is stored there."""
    return any((out / CELLS).glob(f"*/{RESULT_FILE}"))


def forget(out: Path) -> None:
    """Remove the ablation that a directory holds, so that nothing of it is taken for a new one's.
    Raises StoreError."""
    with writing("out", out):
        for name in FILES:
            (out / name).unlink(missing_ok=True)
        if (out / CELLS).exists():
            shutil.rmtree(out / CELLS)


@dataclass(frozen=True)
class Ran:
    """runs: of every cell that has all of them, in order of repeats. failed: the other cells, each
    with what its first run without an end ran into."""

    runs: Mapping[Cell, Sequence[RunOnDisk]]
    failed: tuple[NotRun, ...] = ()


def run_cells(checked: Checked, runner: CellRunner, out: Path, watch: Watch) -> Ran:
    """The runs of every cell: those stored in `out` are found, the others run. Tables stay on disk:
    a long trace's, of all cells at once, fit into few memories.

    A cell for which the device has no memory is not tried again, and the others go on. Raises
    KeyboardInterrupt on Ctrl-C: cells that ended are stored, the one under way is not.
    """
    places = {
        turn: place_of(out / CELLS / turn.directory, checked.identities[turn])
        for turn in checked.turns
    }
    done = {turn: place.run for turn, place in places.items()}
    left = sum(run is None for run in done.values())
    if left < len(done):
        watch.stage(f"{len(done) - left} of {len(done)} runs are stored already")
    failed: dict[Cell, str] = {}
    for at, turn in enumerate(checked.turns, start=1):
        if done[turn] is not None or turn.cell in failed:
            continue
        watch.stage(f"run {at} of {len(done)}: {turn.directory}")
        measured = attempt(partial(runner.measure, turn.cell.overrides, turn.seed))
        if isinstance(measured, str):
            failed[turn.cell] = measured
        else:
            place = places[turn]
            done[turn] = store_measured(place.directory, measured, place.stood)
    runs: dict[Cell, list[RunOnDisk]] = {}
    for turn in sorted(checked.turns, key=lambda one: one.repeat):
        run = done[turn]
        if run is not None and turn.cell not in failed:
            runs.setdefault(turn.cell, []).append(run)
    return Ran(runs, tuple(NotRun(cell, why) for cell, why in failed.items()))


def _turns(cells: list[Cell], repeats: int, seed: int) -> tuple[Turn, ...]:
    """Each repeat in a random order of its own; the first sends what `run --seed` would."""
    rng = np.random.default_rng(seed)
    turns: list[Turn] = []
    for repeat in range(1, repeats + 1):
        own = seed_of_repeat(seed, repeat)
        turns.extend(Turn(cells[at], repeat, own) for at in rng.permutation(len(cells)))
    return tuple(turns)


def _check_names(design: Design) -> None:
    """Each cell needs a directory of its own. Raises ConfigError for levels that are written
    alike."""
    for axis in design.axes:
        texts = [level_text(level) for level in axis.levels]
        if twice := next((text for text in texts if texts.count(text) > 1), None):
            raise ConfigError(
                "axes", f"{axis.name}={twice}", "levels that differ in their first six digits"
            )


def _check_same_requests(identities: Mapping[Cell, Identity]) -> None:
    first: dict[str, Cell] = {}
    for cell, identity in identities.items():
        first.setdefault(identity.fingerprint, cell)
    if len(first) > 1:
        names = " and ".join(cell.name for cell in list(first.values())[:2])
        raise ConfigError(
            "axes", names, "cells that are sent the same requests; one of these clips them"
        )
