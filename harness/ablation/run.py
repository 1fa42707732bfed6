"""Runs the cells of a factorial in a random order, stores each, and goes on where it stopped.

Cells are interleaved: every repeat holds each cell once, in an order of its own, so that a machine
that gets slower with time does not look like an effect (Box, Hunter and Hunter, "Statistics for
Experimenters", 2nd edition, 2005, chapter 3). The orders come from the seed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from ...engines.errors import ConfigError, OutOfMemory
from ..errors import InvalidRun
from ..planning import load_settings
from ..seeds import seed_of_repeat
from ..settings import difference
from ..store import RESULT_FILE, RunOnDisk, StoreError, find_run, write_run
from .design import Cell, Design, NotRun, Overrides, refuse_lost_levels

if TYPE_CHECKING:
    from ...workloads.api import Plan
    from ..config import LoadConfig
    from ..experiment import Measured
    from ..watch import Watch

CELLS = "cells"
FILES = ("ablation.json", "ablation.html", "ablation.md")


@dataclass(frozen=True)
class Identity:
    """What a stored run must say to be the run of a cell.

    settings: of `result.config`, by name. fingerprint: of the requests it is sent. load: settings
    that those requests come from, which decide nothing else; they say why requests differ.
    """

    settings: Mapping[str, object]
    fingerprint: str
    load: Mapping[str, object] = field(default_factory=dict)

    def is_of(self, stored: RunOnDisk) -> bool:
        """Whether a whole run of the same settings is stored."""
        return (
            stored.result.status == "complete"
            and stored.result.workload.fingerprint == self.fingerprint
            and difference(self.settings, stored.result.config) is None
        )

    def difference(self, stored: RunOnDisk) -> str:
        """In what first a stored run is another one: `threads is 2 there, 4 here`."""
        found = difference({**self.settings, **self.load}, stored.result.config)
        if found is not None:
            return found
        if stored.result.workload.fingerprint != self.fingerprint:
            return "the requests themselves are others"
        return f"it is {stored.result.status}"


def identity_of(
    settings: Mapping[str, object], load: LoadConfig, plan: Plan, fingerprint: str
) -> Identity:
    """settings: that the run's `result.config` will hold, all of them. fingerprint: of the plan.

    The price is one of them, unlike in a comparison: runs that are pooled have one mean cost.
    """
    sent = load_settings(load, plan)
    # The fingerprint says what is sent, whatever file it was read from.
    unsaid = {*sent, "command"}
    decided = {name: value for name, value in settings.items() if name not in unsaid}
    return Identity({"price_per_hour": None, **decided}, fingerprint, sent)


class CellRunner(Protocol):
    """Runs one cell: on the real model, or on a simulated machine."""

    def identify(self, overrides: Overrides, seed: int) -> Identity:
        """Check the cell and plan its requests, with nothing heavy done. Raises ConfigError."""
        ...

    def measure(self, overrides: Overrides, seed: int) -> Measured:
        """Run it. A result marked partial was stopped with Ctrl-C."""
        ...


@dataclass(frozen=True)
class Turn:
    """One run to do: which cell, in which repeat (from 1), sent the requests of which seed."""

    cell: Cell
    repeat: int
    seed: int

    @property
    def directory(self) -> str:
        """The first repeat is called as its cell; the others are numbered."""
        return self.cell.name if self.repeat == 1 else f"{self.cell.name}.{self.repeat}"


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
    a level that no cell can have, for repeats below 1, and for cells that would not be sent the
    same requests.
    """
    if repeats < 1:
        raise ConfigError("repeats", repeats, "1 or more")
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


def check_directory(out: Path) -> None:
    """Allowed: a path that does not exist yet, an empty directory, one that holds an ablation."""
    if not out.exists():
        return
    if not out.is_dir():
        raise StoreError("out", out, "is a file; expected a directory")
    others = sorted(entry.name for entry in out.iterdir() if entry.name not in (CELLS, *FILES))
    if others:
        raise StoreError(
            "out",
            out,
            f"holds other files ({others[0]}); expected a new directory or an ablation's",
        )


def stored_turn(out: Path, turn: Turn, identity: Identity) -> RunOnDisk | None:
    """The run of this turn if it is there, whole and the same; None if there is none.

    Raises StoreError if a run of other settings stands in its place: it is not overwritten.
    """
    return stored_run(out / CELLS / turn.directory, identity)


def stored_run(directory: Path, identity: Identity) -> RunOnDisk | None:
    """The run in a directory if it is there, whole and of that identity; None if there is none.

    Raises StoreError if a run of other settings stands there: it is not overwritten.
    """
    if not (directory / RESULT_FILE).exists():
        return None
    stored = find_run(directory)
    if not identity.is_of(stored):
        raise StoreError(
            "out",
            directory,
            f"holds a run of other settings or requests ({identity.difference(stored)}); expected "
            "a new directory, or the one of this very command",
        )
    return stored


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
    done = {turn: stored_turn(out, turn, checked.identities[turn]) for turn in checked.turns}
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
            done[turn] = store_measured(out / CELLS / turn.directory, measured)
    runs: dict[Cell, list[RunOnDisk]] = {}
    for turn in sorted(checked.turns, key=lambda one: one.repeat):
        run = done[turn]
        if run is not None and turn.cell not in failed:
            runs.setdefault(turn.cell, []).append(run)
    return Ran(runs, tuple(NotRun(cell, why) for cell, why in failed.items()))


def attempt(measure: Callable[[], Measured]) -> Measured | str:
    """A whole run, or why there is none, in one line: its device has no memory left, be it for the
    weights, the cache, the warm-up or a step. Raises KeyboardInterrupt for one that the user cut
    short."""
    try:
        measured = measure()
    except (OutOfMemory, InvalidRun) as error:
        return str(error)
    if measured.failure:
        return measured.failure
    if measured.result.status == "partial":
        raise KeyboardInterrupt
    return measured


def store_measured(directory: Path, measured: Measured) -> RunOnDisk:
    """The data first: whatever happens to a report, `llmbench report` can write it again."""
    from ..rendering import run_reports
    from ..store import write_reports

    stored = write_run(directory, measured.result, measured.requests, measured.steps, {})
    write_reports(
        stored, run_reports(stored.name, measured.result, measured.requests, measured.steps)
    )
    return RunOnDisk(stored, measured.result)


def _turns(cells: list[Cell], repeats: int, seed: int) -> tuple[Turn, ...]:
    """Each repeat in a random order of its own; the first sends what `run --seed` would."""
    rng = np.random.default_rng(seed)
    turns: list[Turn] = []
    for repeat in range(1, repeats + 1):
        own = seed_of_repeat(seed, repeat)
        turns.extend(Turn(cells[at], repeat, own) for at in rng.permutation(len(cells)))
    return tuple(turns)


def _check_same_requests(identities: Mapping[Cell, Identity]) -> None:
    first: dict[str, Cell] = {}
    for cell, identity in identities.items():
        first.setdefault(identity.fingerprint, cell)
    if len(first) > 1:
        names = " and ".join(cell.name for cell in list(first.values())[:2])
        raise ConfigError(
            "axes", names, "cells that are sent the same requests; one of these clips them"
        )
