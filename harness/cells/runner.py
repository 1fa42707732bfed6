"""Who makes a run that is missing, and how it is kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ...engines.errors import OutOfMemory
from ..errors import InvalidRun, PlaceTaken
from ..storage.store import RunOnDisk, Standing, write_reports, write_run
from .identity import Identity

if TYPE_CHECKING:
    from ..run.experiment import Measured

Level = str | int | float | bool
# Settings of `EngineConfig` that a cell has otherwise than the others.
Overrides = Mapping[str, Level]


class CellRunner(Protocol):
    """Runs one cell: on the real model, or on a simulated machine."""

    def identify(self, overrides: Overrides, seed: int) -> Identity:
        """Check the cell and plan its requests, with nothing heavy done. Raises ConfigError."""
        ...

    def measure(self, overrides: Overrides, seed: int) -> Measured:
        """Run it. What is marked partial was cut short, by Ctrl-C or by what `failure` says."""
        ...


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


def store_measured(directory: Path, measured: Measured, stood: Standing) -> RunOnDisk:
    """The data first: whatever happens to a report, `llmbench report` can write it again. stood:
    what may be replaced. Raises PlaceTaken, with the reports written where the run is then."""
    tables = measured.requests, measured.steps
    try:
        stored = write_run(directory, measured.result, *tables, {}, stood)
    except PlaceTaken as taken:
        _write_reports(taken.kept, measured)
        raise
    _write_reports(stored, measured)
    return RunOnDisk(stored, measured.result)


def _write_reports(stored: Path, measured: Measured) -> None:
    from ..rendering import run_reports

    tables = measured.requests, measured.steps
    write_reports(stored, run_reports(stored.name, measured.result, *tables))
