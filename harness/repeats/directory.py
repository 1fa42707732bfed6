"""A repeated run on disk: `repeat-1`, `repeat-2`, …, each a run, and a summary beside them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ...engines.errors import ConfigError
from ..comparison.admissible import objections
from ..storage.directories import check_only
from ..storage.store import REPEAT_PREFIX, RunOnDisk, StoreError, find_run, repeat_directories

FILES = ("repeats.json", "repeats.html", "repeats.md")


@dataclass(frozen=True)
class Repeats:
    """The runs of a repeated run, in order, with their tables left on disk."""

    directory: Path
    runs: tuple[RunOnDisk, ...]

    @property
    def name(self) -> str:
        return self.directory.name

    @property
    def invalid(self) -> tuple[tuple[RunOnDisk, str], ...]:
        """Runs that count for nothing, each with why."""
        return tuple((run, reasons[0]) for run in self.runs if (reasons := objections(run)))

    def run_called(self, name: str) -> RunOnDisk:
        return next(run for run in self.runs if run.directory.name == name)

    @property
    def counted(self) -> tuple[RunOnDisk, ...]:
        return tuple(run for run in self.runs if not objections(run))


def name_of(repeat: int) -> str:
    """repeat: from 1."""
    return f"{REPEAT_PREFIX}{repeat}"


def holds_repeats(path: Path) -> bool:
    return bool(repeat_directories(path))


def find_repeats(path: Path) -> Repeats:
    """Raises StoreError for `run`: no repeats there, or one that cannot be read."""
    directories = repeat_directories(path)
    if not directories:
        raise StoreError("run", path, "holds no repeats; expected what 'run --repeats' left")
    return Repeats(path.resolve(), tuple(map(find_run, directories)))


def all_or_none(paths: list[Path]) -> bool:
    """Whether these are all repeated runs. Raises ConfigError for repeated runs beside single ones:
    one run has no spread, and whatever of several it were held against would be a choice."""
    repeated = [path for path in paths if holds_repeats(path)]
    if repeated and len(repeated) < len(paths):
        single = next(path for path in paths if path not in repeated)
        raise ConfigError(
            "runs",
            f"{repeated[0]} beside {single}",
            f"repeated runs alone ('llmbench run --repeats' for {single.name}), or single ones "
            f"({repeated[0] / name_of(1)})",
        )
    return bool(repeated)


def check_out(out: Path, repeats: int) -> None:
    """Allowed: a path that does not exist yet, an empty directory, one that holds at most so many
    repeats. Raises StoreError."""
    there = repeat_directories(out)
    known = {*FILES, *(one.name for one in there)}
    check_only(
        out,
        lambda entry: entry.name in known,
        "a new directory, or one that holds the repeats of this run",
    )
    if there:
        most = int(there[-1].name.removeprefix(REPEAT_PREFIX))
        if most > repeats:
            raise StoreError(
                "out", out, f"holds {there[-1].name}; expected --repeats {most} or more"
            )
