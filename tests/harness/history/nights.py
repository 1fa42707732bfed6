"""Stored runs of one experiment, a night each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from llmbench.harness.comparison.quantities import find_quantity
from llmbench.harness.history.trend import history_of
from llmbench.harness.result import Metric, Result
from llmbench.harness.storage.store import RunOnDisk
from llmbench.reports.history_model import History

from ..observed import serve_in_turn
from ..stored import SIMULATION, stored_run

TTFT = find_quantity("metric", "ttft.p99")


STEPS = find_quantity("metric", "counters.steps")


def run(
    name: str,
    ttft_s: float = 0.2,
    *,
    day: int = 1,
    samples: int = 100,
    commit: str = "",
    steps: int | None = None,
    config: dict[str, Any] | None = None,
    environment: dict[str, Any] | None = None,
    simulated: bool = False,
) -> RunOnDisk:
    requests, traces = serve_in_turn(12)
    stored = stored_run(
        requests,
        traces,
        config=config,
        environment={"git": {"commit": commit, "dirty": False}} if commit else environment,
        simulation=SIMULATION if simulated else None,
    )
    ttft = stored.result.metrics["ttft"]
    stats = {**ttft.stats, "p99": ttft_s, "count": samples}
    changed: dict[str, Any] = {
        "metrics": {
            **stored.result.metrics,
            "ttft": Metric(**{**ttft.model_dump(), "stats": stats}),
        },
        "validity": stored.result.validity.model_copy(update={"valid": True, "checks": ()}),
    }
    if not simulated:
        changed["created_at"] = f"2026-01-{day:02}T03:04:05Z"
    if steps is not None:
        changed["counters"] = stored.result.counters.model_copy(update={"steps": steps})
    result: Result = stored.result.model_copy(update=changed)
    return RunOnDisk(Path(name), result)


def nightly(levels: Sequence[float], noise: float = 0.01) -> list[RunOnDisk]:
    rng = np.random.default_rng()
    return [
        run(f"n{day}", level * (1 + noise * rng.normal()), day=day, commit=f"c{day:02}" * 4)
        for day, level in enumerate(levels, start=1)
    ]


def history(runs: Sequence[RunOnDisk]) -> History:
    return history_of(runs, (), [TTFT, STEPS])
