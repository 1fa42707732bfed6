"""Runs of a closed loop of one, as long as is asked for, and what comparing two of them gives."""

from __future__ import annotations

from functools import cache

import numpy as np
from llmbench.harness.comparison.compare import compare
from llmbench.harness.repeats.directory import Repeats
from llmbench.harness.storage.store import StoredRun
from llmbench.reports.model import Verdict

from ..observed import serve_in_turn
from ..repeats.made import in_memory
from ..stored import SIMULATION, stored_run


@cache
def run_of(
    seconds: float,
    *,
    slower: float = 1.0,
    seed: int = 1,
    simulated: bool = False,
    count: int = 150,
    slo_s: float | None = None,
) -> StoredRun:
    """A closed loop of one, of about that many seconds if `slower` is 1. slo_s: for a whole
    reply, which takes seconds / count."""
    rng = np.random.default_rng(seed)
    step_s = slower * seconds / count / 8
    served = serve_in_turn(count, step_s=lambda: float(step_s * rng.lognormal(-0.02, 0.2)))
    return stored_run(
        *served,
        label=f"{slower:g} {seed}",
        config={"seed": seed},
        slo=None if slo_s is None else {"e2el": slo_s},
        simulation=SIMULATION if simulated else None,
    )


def verdicts_of(before: StoredRun, after: StoredRun) -> dict[str, Verdict | None]:
    rows = compare([before, after]).rows
    return {row.name: row.ratios[1].verdict for row in rows if row.ratios[1]}


def repeated(name: str, *runs: StoredRun) -> Repeats:
    return in_memory(name, list(runs))
