"""Workloads by name: the built-in ones, a YAML file, or a trace as it was recorded."""

from __future__ import annotations

import functools
from pathlib import Path

import yaml

from .api import WorkloadError
from .load import load_spec, nearest, parse_spec
from .spec import Replay, TraceLengths, WorkloadSpec
from .traces import is_trace_file, read_trace
from .traces.stored import is_stored


@functools.cache
def list_builtins() -> tuple[WorkloadSpec, ...]:
    """Every built-in workload, in the order of `builtins.yaml`: the default one first."""
    text = Path(__file__).with_name("builtins.yaml").read_text(encoding="utf-8")
    return tuple(parse_spec({"name": name, **data}) for name, data in yaml.safe_load(text).items())


def resolve_workload(name_or_path: str | Path) -> WorkloadSpec:
    """The built-in of this name, or the workload in this YAML file.

    A built-in's name wins over a file of the same name: write ./NAME for the file.
    """
    builtins = {spec.name: spec for spec in list_builtins()}
    name = str(name_or_path)
    if name in builtins:
        return builtins[name]
    path = Path(name_or_path)
    if path.suffix not in {".yaml", ".yml"} and is_trace_file(path):
        raise WorkloadError("workload", path, "a workload; --trace replays a trace", "is a trace")
    if path.is_file() or path.suffix in {".yaml", ".yml"}:
        return load_spec(path)
    expected = f"one of {', '.join(builtins)}, or a YAML file{nearest(name, builtins)}"
    raise WorkloadError("workload", name, expected, "is neither a built-in workload nor a file")


def trace_workload(path: str | Path) -> WorkloadSpec:
    """A trace as it was recorded: its times, its lengths, all of its rows, and of a stored run as
    many replies to a prompt. Raises WorkloadError: a stored run that cannot be read.

    The name of a built-in workload that was fitted to a trace stands for it where no file of that
    name is; the adjustments say so.
    """
    path = Path(path)
    fitted = {spec.name: spec for spec in list_builtins() if spec.source.startswith("fitted to")}
    if str(path) in fitted and not path.exists():
        spec = fitted[str(path)]
        note = "the built-in fitted to the trace, not the trace itself: that needs its CSV"
        return spec.model_copy(update={"adjustments": (*spec.adjustments, note)})
    return WorkloadSpec(
        name=f"trace {path.name}",
        description=f"Replay of {path.name}",
        source=path.name,
        arrivals=Replay(kind="replay", path=path),
        lengths=TraceLengths(kind="trace", path=path),
        samples=read_trace(path)[0].samples if is_stored(path) else 1,
    )
