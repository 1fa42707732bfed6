"""Repeated runs whose numbers are set by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from llmbench.harness.repeats.directory import Repeats
from llmbench.harness.storage.store import RunOnDisk, StoredRun, write_run

from ..observed import serve_in_turn
from ..stored import stored_run


@cache
def _served() -> StoredRun:
    """A closed loop of one that runs for ten seconds, and is valid."""
    return stored_run(*serve_in_turn(125), config={"seed": 0})


def make_run(repeat: int = 1, *, seed: int | None = None, **values: float) -> StoredRun:
    """values: of the result's metrics, as `ttft__p99=0.1`, and of its counters, as
    `preemptions=3`. Seed and requests go by the number of the repeat."""
    base = _served()
    seed = repeat if seed is None else seed
    result = base.result
    metrics, counters = dict(result.metrics), {}
    for name, value in values.items():
        metric, _, stat = name.partition("__")
        if not stat:
            counters[name] = int(value)
            continue
        stats = {**metrics[metric].stats, stat: value}
        metrics[metric] = metrics[metric].model_copy(update={"stats": stats})
    result = result.model_copy(
        update={
            "metrics": metrics,
            "counters": result.counters.model_copy(update=counters),
            "config": {**result.config, "seed": seed},
            "workload": result.workload.model_copy(update={"fingerprint": f"{seed:064d}"}),
        }
    )
    return StoredRun(Path(f"repeat-{repeat}"), result, base.requests, base.steps)


def invalid(run: StoredRun) -> StoredRun:
    validity = run.result.validity.model_copy(update={"valid": False, "checks": ()})
    return replace(run, result=run.result.model_copy(update={"validity": validity}))


def partial(run: StoredRun) -> StoredRun:
    return replace(run, result=run.result.model_copy(update={"status": "partial"}))


def in_memory(name: str, runs: Sequence[StoredRun]) -> Repeats:
    directory = Path(name)
    results = [run.result.model_copy(update={"run_id": f"{name}-{run.directory}"}) for run in runs]
    return Repeats(
        directory,
        tuple(
            RunOnDisk(directory / run.directory, result)
            for run, result in zip(runs, results, strict=True)
        ),
    )


def on_disk(directory: Path, runs: Sequence[StoredRun]) -> Path:
    for run in runs:
        result = run.result.model_copy(update={"run_id": f"{directory.name}-{run.directory}"})
        write_run(directory / run.directory, result, run.requests, run.steps, {})
    return directory


def metric_runs(name: str, metric: str, values: Sequence[float]) -> Repeats:
    """One value of one metric a run: repeats 1, 2, …"""
    runs = [make_run(at, seed=at, **{metric: value}) for at, value in enumerate(values, start=1)]
    return in_memory(name, runs)
