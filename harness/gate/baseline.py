"""The baseline file: what runs do in virtual time, a quantity a line, to be committed and diffed.

gate: 1
llmbench: 0.1.0             # the version that wrote the file
runs:
  chat:
    options:                # of `llmbench simulate`, without the dashes
      engine: paged
      num-requests: 60
    allowed:                # optional: what need not stay exactly as it is
      ttft.p99: 2%
    workload: 5f2c…         # the fingerprint of what was sent
    quantities:
      counters.steps: 412
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from ...engines.errors import ConfigError, unknown_name
from ...engines.finite import is_finite_number
from ...workloads.yaml_file import NotYamlError, parse_yaml
from ..errors import StoreError, unreadable
from ..storage.whole_file import write_whole, writing

FORMAT = 1
_FIELD = "baseline"
_HEADER = "# Made by `llmbench gate --update`: what these runs do in virtual time.\n"


@dataclass(frozen=True)
class BaselineRun:
    """One run. allowed: by name of a quantity, as a rule says it (`2%`, `1ms`, `3`). workload and
    quantities are empty until the run was made once."""

    options: Mapping[str, Any]
    allowed: Mapping[str, str] = field(default_factory=dict)
    workload: str = ""
    quantities: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Baseline:
    """llmbench: the version that wrote it. runs: by name."""

    llmbench: str
    runs: Mapping[str, BaselineRun]


def read_baseline(path: Path) -> Baseline:
    """Raises ConfigError for `baseline`, naming the place that is wrong."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise unreadable(_FIELD, path, "a YAML file of runs", error) from error
    if any(line.startswith("<<<<<<< ") for line in text.splitlines()):
        problem = "has a merge conflict; take either side's file, then: llmbench gate --update"
        raise StoreError(_FIELD, path, problem)
    try:
        data = parse_yaml(text)
    except NotYamlError as error:
        raise StoreError(_FIELD, path, f"{error}; expected a YAML file of runs") from error
    if not isinstance(data, dict) or "gate" not in data:
        problem = f"has no 'gate: {FORMAT}'; expected a YAML file of runs"
        raise StoreError(_FIELD, path, problem)
    if data["gate"] != FORMAT:
        problem = f"is of format {data['gate']!r}; this llmbench reads {FORMAT}"
        raise StoreError(_FIELD, path, problem)
    _only(f"{_FIELD}: {path}", data, ("gate", "llmbench", "runs"))
    runs = _mapping(f"{_FIELD}: {path}: runs", data.get("runs"))
    if not runs:
        raise StoreError(_FIELD, path, "has no runs; expected at least one under 'runs'")
    return Baseline(
        str(data.get("llmbench", "")),
        {str(name): _run(path, str(name), run) for name, run in runs.items()},
    )


def write_baseline(baseline: Baseline) -> str:
    """The file's text: runs and quantities sorted, so that a diff is what changed."""
    data = {
        "gate": FORMAT,
        "llmbench": baseline.llmbench,
        "runs": {name: _plain(run) for name, run in sorted(baseline.runs.items())},
    }
    text = yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=1000)
    return _HEADER + text


def save_baseline(path: Path, baseline: Baseline) -> str:
    """Write the file, whole or not at all. Returns its text. Raises StoreError for `baseline`."""
    text = write_baseline(baseline)
    with writing(_FIELD, path):
        write_whole(path, text)
    return text


def put_run(path: Path, name: str, run: BaselineRun, version: str) -> None:
    """Rewrite one run of the file, which is made if need be; what it allows stays allowed. Any
    number of processes may do so at once, each with runs of its own. version: of this llmbench.
    Raises ConfigError as `read_baseline` does, and StoreError."""
    with _alone(path):
        runs = dict(read_baseline(path).runs) if path.exists() else {}
        if name in runs:
            run = replace(run, allowed=runs[name].allowed)
        runs[name] = run
        save_baseline(path, Baseline(version, runs))


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Between reading a file and replacing it. Its directory is what is locked: the file is
    another one afterwards."""
    with writing(_FIELD, path):
        directory = os.open(path.resolve().parent, os.O_RDONLY)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        yield
    finally:
        os.close(directory)


def _plain(run: BaselineRun) -> dict[str, Any]:
    whole = {
        "options": dict(sorted(run.options.items())),
        "allowed": dict(sorted(run.allowed.items())),
        "workload": run.workload,
        "quantities": {
            name: int(value) if float(value).is_integer() else value
            for name, value in sorted(run.quantities.items())
        },
    }
    return {name: value for name, value in whole.items() if value or name == "options"}


def _run(path: Path, name: str, data: object) -> BaselineRun:
    at = f"{_FIELD}: {path}: runs.{name}"
    run = _mapping(at, data)
    _only(at, run, ("options", "allowed", "workload", "quantities"))
    options, allowed, quantities = (
        _mapping(f"{at}.{key}", run.get(key)) for key in ("options", "allowed", "quantities")
    )
    for quantity, value in quantities.items():
        if not is_finite_number(value):
            raise ConfigError(f"{at}.quantities.{quantity}", value, "a finite number")
    return BaselineRun(
        {str(key): value for key, value in options.items()},
        {str(key): str(value) for key, value in allowed.items()},
        str(run.get("workload", "")),
        {str(key): float(value) for key, value in quantities.items()},
    )


def _mapping(at: str, data: object) -> dict[Any, Any]:
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ConfigError(at, data, "a mapping")
    return data


def _only(at: str, data: Mapping[Any, Any], known: tuple[str, ...]) -> None:
    for key in data:
        if key not in known:
            raise unknown_name(at, key, known)
