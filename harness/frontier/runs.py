"""Runs every method on the same requests, stores each, and goes on where it stopped.

One model is in memory at a time, or two while a quantised one is held against the unquantised.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ...engines.errors import ConfigError
from ..cells.identity import Identity, place_of
from ..cells.real import RealCells
from ..cells.runner import CellRunner, attempt, store_measured
from ..storage.directories import check_only
from ..storage.store import RESULT_FILE, RunOnDisk
from .batch_steps import STEPS_FILE
from .scores import TASKS_FILE

if TYPE_CHECKING:
    from ..config import RunConfig
    from ..run.watch import Watch

FILES = ("frontier.json", "frontier.html", "frontier.md", STEPS_FILE, TASKS_FILE)


@dataclass(frozen=True)
class MethodRun:
    """A method and its stored run; None where it was not measured, and why in one line."""

    method: str
    run: RunOnDisk | None
    failure: str = ""


@dataclass(frozen=True)
class CheckedMethods:
    """Methods found fit to run, each with what its stored run must say to be its run."""

    settings: RunConfig
    identities: Mapping[str, Identity]
    cells: CellRunner

    @property
    def methods(self) -> tuple[str, ...]:
        return tuple(self.identities)


def check_methods(methods: Sequence[str], settings: RunConfig, watch: Watch) -> CheckedMethods:
    """Everything that can be found wrong before any weight is read. Raises ConfigError, also where
    the methods would not be sent the same requests."""
    cells = RealCells(settings, watch)
    identities = {method: cells.identify({"quant": method}, settings.seed) for method in methods}
    if len({one.fingerprint for one in identities.values()}) > 1:
        raise ConfigError("quant", ",".join(methods), "methods that are sent the same requests")
    return CheckedMethods(settings, identities, cells)


def check_directory(out: Path, methods: Sequence[str]) -> None:
    """Allowed: a path that does not exist yet, an empty directory, one that holds the runs of these
    methods or more of them. Raises StoreError."""
    check_only(
        out,
        lambda entry: entry.name in (*methods, *FILES) or (entry / RESULT_FILE).is_file(),
        "a new directory, or one that holds the runs of these methods",
    )


def run_methods(checked: CheckedMethods, out: Path, watch: Watch) -> tuple[MethodRun, ...]:
    """The run of every method, in their order: those stored in `out` are found, the others run.

    A method that ran out of memory is not stored, and the others go on. Raises KeyboardInterrupt on
    Ctrl-C: methods that ended are stored, the one under way is not.
    """
    places = {
        method: place_of(out / method, identity) for method, identity in checked.identities.items()
    }
    runs: list[MethodRun] = []
    for at, (method, place) in enumerate(places.items(), start=1):
        if place.run is not None:
            watch.stage(f"method {at} of {len(places)}: {method} is stored already")
            runs.append(MethodRun(method, place.run))
            continue
        watch.stage(f"method {at} of {len(places)}: {method}")
        seed = checked.settings.seed
        measured = attempt(partial(checked.cells.measure, {"quant": method}, seed))
        if isinstance(measured, str):
            runs.append(MethodRun(method, None, measured))
        else:
            stored = store_measured(place.directory, measured, place.stood)
            runs.append(MethodRun(method, stored))
    return tuple(runs)
