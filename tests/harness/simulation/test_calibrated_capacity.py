"""A capacity by measured step times, and what is said of their error."""

from __future__ import annotations

from dataclasses import replace

import pytest
from llmbench.engines.config import engine_config
from llmbench.harness.config import RunConfig
from llmbench.harness.run.watch import Silent
from llmbench.harness.simulation.calibrate import calibrate_runs
from llmbench.harness.simulation.capacity_goal import CapacityGoal
from llmbench.harness.simulation.simulated_capacity import engine_capacity, prepare_capacity
from llmbench.harness.simulation.simulated_machine import Machine

from .test_twin import LOAD, stored


@pytest.mark.parametrize(("limit_s", "outcome"), [(1e-9, "never"), (1e9, "always")])
def test_steps_larger_than_any_measured_are_counted_whatever_holds(
    limit_s: float, outcome: str
) -> None:
    """Known wrong here: none of them where no rate holds, for no run at capacity was there."""
    made = calibrate_runs([stored("seen", 1)])
    nothing_seen = replace(made, seen=dict.fromkeys(made.seen, 0.0))
    engine = engine_config("paged", dtype="bfloat16", max_num_seqs=16)
    config = RunConfig("smollm2-135m", engine, replace(LOAD, num_requests=8))
    prepared = prepare_capacity(config, Machine(calibration=nothing_seen))
    found = engine_capacity(prepared, CapacityGoal({"ttft": limit_s}), Silent())
    assert found.search.outcome == outcome
    assert found.error.endswith("steps were larger than any measured")
