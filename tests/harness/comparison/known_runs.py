"""Runs that differ by what a test says."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
from llmbench.engines.trace import StepTrace
from llmbench.harness.result import Simulation
from llmbench.harness.run.record import RequestRecord
from llmbench.harness.storage.store import StoredRun
from llmbench.reports.model import Comparison

from ..observed import serve_in_turn
from ..stored import stored_run


@cache
def _served(count: int, seed: int, slower: float) -> tuple[list[RequestRecord], list[StepTrace]]:
    """A closed loop of one with steps of 10 ms give or take a fifth, all `slower` times as long."""
    rng = np.random.default_rng(seed)
    return serve_in_turn(count, step_s=lambda: float(slower * 0.01 * rng.lognormal(0, 0.2)))


def known_run(
    label: str = "a",
    *,
    slower: float = 1.0,
    seed: int = 1,
    count: int = 150,
    config: Mapping[str, Any] | None = None,
    environment: Mapping[str, Any] | None = None,
    fingerprint: str = "f" * 64,
    interrupted: bool = False,
    simulation: Simulation | None = None,
) -> StoredRun:
    return stored_run(
        *_served(count, seed, slower),
        label=label,
        fingerprint=fingerprint,
        config=config,
        environment=environment,
        interrupted=interrupted,
        simulation=simulation,
    )


def verdicts_of(comparison: Comparison) -> dict[str, str | None]:
    return {
        row.name: ratio.verdict for row in comparison.rows if (ratio := row.ratios[1]) is not None
    }
