"""Stored runs as series: one a metric and kind of run, in the order they were made."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...engines.errors import ConfigError
from ..evidence import objections
from ..quantities import Quantity, find_quantity
from ..result import Result
from ..stats.steps import Step, find_steps
from ..store import RESULT_FILE, RunOnDisk, StoreError, find_run

METRICS = ("output_throughput.run", "ttft.mean", "tpot.mean")
# Settings that name a run, and do not make it another kind.
_NAMES = ("command",)


@dataclass(frozen=True)
class Point:
    """One run. run: its directory's name. commit: of the tree that ran, as far as it is known."""

    run: str
    created_at: str
    commit: str
    value: float


@dataclass(frozen=True)
class Trend:
    """One metric over runs of one kind: of equal settings, sent the same requests. steps: where it
    went from one level to another, by index of the first run of the new one."""

    kind: str
    quantity: Quantity
    points: tuple[Point, ...]
    steps: tuple[Step, ...]

    def worsened(self, step: Step) -> bool | None:
        """None where no direction is better."""
        if self.quantity.better == "none":
            return None
        return (step.after > step.before) == (self.quantity.better == "lower")


@dataclass(frozen=True)
class History:
    """left_out: runs that are in no trend, with the reason, a line each."""

    trends: tuple[Trend, ...]
    left_out: tuple[str, ...]


def history_of(paths: Sequence[Path], metrics: Sequence[str] = METRICS) -> History:
    """Read every run below the paths. Raises ConfigError for a metric that is none or where there
    is no run; one that cannot be read or is not valid is left out."""
    quantities = [find_quantity("metric", name) for name in metrics]
    runs, left_out = _read(paths)
    kinds: dict[str, list[RunOnDisk]] = defaultdict(list)
    for run in sorted(runs, key=lambda run: (run.result.created_at or "", run.directory.name)):
        kinds[_kind_key(run.result)].append(run)
    trends = [
        trend
        for members in kinds.values()
        for quantity in quantities
        if (trend := _trend(members, quantity)) is not None
    ]
    return History(tuple(trends), tuple(left_out))


def _read(paths: Sequence[Path]) -> tuple[list[RunOnDisk], list[str]]:
    runs, left_out = [], []
    for directory in _directories(paths):
        try:
            run = find_run(directory)
        except StoreError as error:
            left_out.append(str(error))
            continue
        reasons = objections(run)
        if reasons:
            left_out.append(f"{directory}: not valid: {reasons[0]}")
        elif run.result.created_at is None:
            left_out.append(f"{directory}: simulated, so it has no time; gates are for those")
        else:
            runs.append(run)
    return runs, left_out


def _directories(paths: Sequence[Path]) -> Iterable[Path]:
    """Those that hold a result, each once."""
    found: dict[Path, None] = {}
    for path in paths:
        below = [file.parent.resolve() for file in sorted(path.rglob(RESULT_FILE))]
        if not below:
            raise ConfigError("directory", str(path), "a run, or a directory with runs below it")
        found.update(dict.fromkeys(below))
    return found


def _kind_key(result: Result) -> str:
    config = {key: value for key, value in result.config.items() if key not in _NAMES}
    return repr((result.label, result.workload.fingerprint, sorted(config.items(), key=str)))


def _trend(members: Sequence[RunOnDisk], quantity: Quantity) -> Trend | None:
    points = tuple(
        Point(run.directory.name, str(run.result.created_at), _commit(run.result), value)
        for run in members
        if (value := quantity.value(run.result)) is not None
    )
    if not points:
        return None
    result = members[0].result
    kind = f"{result.label} · {result.config['model']} · {result.workload.name}"
    return Trend(kind, quantity, points, find_steps([point.value for point in points]))


def _commit(result: Result) -> str:
    git: Any = result.environment.get("git") or {}
    return str(git.get("commit") or "")[:12]
