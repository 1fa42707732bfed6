"""Which stored runs are the same experiment, done again: same settings, requests and hardware."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from ...engines.errors import ConfigError
from ...reports.format import setting
from ...reports.history_model import HistoryRun
from ..comparison.admissible import objections
from ..result import Result
from ..storage.settings import setting_of, settings_of
from ..storage.store import REPEAT_PREFIX, RESULT_FILE, RunOnDisk, StoreError, find_run, missing


def find_runs(paths: Sequence[Path]) -> tuple[list[RunOnDisk], list[tuple[str, str]]]:
    """The runs at and below these paths that count, and those left out, with why: they cannot be
    read, are not valid or were interrupted. Both in order of the paths, and below each by name.
    Raises ConfigError where there is no run at all."""
    directories: dict[Path, None] = {}
    for path in paths:
        if not path.is_dir():
            raise StoreError("runs", path, f"{missing(path)}; expected a directory that holds runs")
        resolved = (file.parent.resolve() for file in path.rglob(RESULT_FILE))
        found = sorted(resolved, key=_by_name)
        # A run that is being written lies in a hidden directory.
        directories |= {one: None for one in found if not one.name.startswith(".")}
    if not directories:
        raise ConfigError("runs", ", ".join(map(str, paths)), "a directory that holds runs")
    runs: list[RunOnDisk] = []
    left_out: list[tuple[str, str]] = []
    for directory in directories:
        try:
            run = find_run(directory)
        except StoreError as error:
            left_out.append((path_text(directory), str(error)))
            continue
        if reasons := objections(run):
            left_out.append((path_text(directory), reasons[0]))
        else:
            runs.append(run)
    return runs, left_out


def group(runs: Iterable[RunOnDisk]) -> list[list[RunOnDisk]]:
    """Runs of one experiment together, each group in order of time, and those whose results record
    none, as of a simulation, as they are given; the groups in order of their first run."""
    groups: dict[str, list[RunOnDisk]] = {}
    for run in sorted(runs, key=lambda one: one.result.created_at or ""):
        groups.setdefault(experiment(run.result), []).append(run)
    return list(groups.values())


def experiment(result: Result) -> str:
    """What runs of one experiment have in common. Versions of software, a GPU's driver and the code
    of an own kernel among them, are not in it: they are what a history is about. A setting that is
    not set counts like one that there was not yet."""
    config = settings_of(result.config)
    config.pop("own_kernel_sources", None)
    environment = result.environment
    cpu = environment.get("cpu") or {}
    decided = {
        "config": config,
        "requests": result.workload.fingerprint,
        "cpu": [cpu.get("model"), cpu.get("usable_cores"), cpu.get("cgroup_limit_cores")],
        "gpus": [
            [one.get("name"), one.get("memory_bytes")] for one in environment.get("gpus") or ()
        ],
    }
    return json.dumps(decided, sort_keys=True, default=str)


def names(firsts: Sequence[RunOnDisk]) -> list[str]:
    """What series are called, by a run of each: engine, model and workload, that it was simulated,
    and, of those that have this in common, the settings that they differ in."""
    short = [
        f"{one.result.label} · {one.result.config['model']} · {one.result.workload.name}"
        f"{' · simulated' if one.result.simulation is not None else ''}"
        for one in firsts
    ]
    return [_told_apart(name, at, short, firsts) for at, name in enumerate(short)]


def _told_apart(name: str, at: int, short: Sequence[str], firsts: Sequence[RunOnDisk]) -> str:
    alike = [one.result for one, other in zip(firsts, short, strict=True) if other == name]
    if len(alike) == 1:
        return name
    own = firsts[at].result
    settings = [
        f"{field} {setting(field, value)}"
        for field, value in settings_of(own.config).items()
        if len({repr(setting_of(one.config, field)) for one in alike}) > 1
    ][:3]
    if len({one.workload.fingerprint for one in alike}) > 1:
        settings.append(f"requests {own.workload.fingerprint[:8]}")
    if not settings:
        settings.append(str((own.environment.get("cpu") or {}).get("model")))
    return f"{name} ({', '.join(settings)})"


def _by_name(directory: Path) -> list[list[tuple[int, str]]]:
    """For sorting: part by part, and numbers by what they are: `n9` is before `n10`."""
    return [
        [(int(run), "") if run.isdecimal() else (-1, run) for run in re.findall(r"\d+|\D+", part)]
        for part in directory.parts
    ]


def run_name(directory: Path) -> str:
    """What a run is called; a repeat, whose name many have, with the directory that holds it."""
    name = directory.name
    return f"{directory.parent.name}/{name}" if name.startswith(REPEAT_PREFIX) else name


def path_text(directory: Path) -> str:
    """Where a run is, from where the user stands if it lies below: many are called alike."""
    here = Path.cwd()
    return str(directory.relative_to(here) if directory.is_relative_to(here) else directory)


def describe(run: RunOnDisk) -> HistoryRun:
    environment = run.result.environment
    git = environment.get("git") or {}
    commit = str(git.get("commit") or "")[:10] + ("+" if git.get("dirty") else "")
    version = str((environment.get("packages") or {}).get("llmbench") or "")
    drivers = {str(one.get("driver")) for one in environment.get("gpus") or ()}
    return HistoryRun(
        run_name(run.directory),
        run.result.created_at,
        version,
        commit,
        ", ".join(sorted(drivers)),
    )
