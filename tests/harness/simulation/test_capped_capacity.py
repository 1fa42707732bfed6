"""A capacity behind a cap on concurrency: the workload's own arrivals, and no others."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from llmbench.engines.config import engine_config
from llmbench.harness.cli.capacity_kept import capacity_json
from llmbench.harness.cli.capacity_tables import print_capacities
from llmbench.harness.config import LoadConfig, RunConfig
from llmbench.harness.run.watch import Silent
from llmbench.harness.simulation.capacity_goal import CapacityGoal
from llmbench.harness.simulation.simulated_capacity import (
    engine_capacity,
    prepare_capacity,
)
from llmbench.harness.simulation.simulated_machine import Machine
from llmbench.workloads.scaled import GAPS_MULTIPLIED

MACHINE = Machine("h100")
CAP = 8
ARRIVALS: dict[str, dict[str, Any]] = {
    "on_off": {"mean_on_s": 1, "mean_off_s": 4, "on_rate_per_s": 20},
    "linear_ramp": {"start_rate_per_s": 1, "end_rate_per_s": 9, "duration_s": 20},
    "exponential_ramp": {"start_rate_per_s": 1, "end_rate_per_s": 9, "duration_s": 20},
    "clients": {"clients": [{"rate_per_s": 2}]},
}


def config(load: LoadConfig) -> RunConfig:
    return RunConfig("llama-3-8b", engine_config("paged"), load)


@pytest.mark.parametrize("kind", [*ARRIVALS, "replay", "azure-code"])
def test_a_cap_leaves_the_arrivals_as_they_are(tmp_path: Path, kind: str) -> None:
    """Known wrong here: bursts with a CV of 4.7 became Poisson, and held three times the rate."""
    workload = kind
    if kind != "azure-code":
        trace = tmp_path / "trace.jsonl"
        row = {"input_tokens": 8, "output_tokens": 2}
        trace.write_text("\n".join(json.dumps({"t_due_s": at**2, **row}) for at in range(40)))
        eight = {"kind": "fixed", "tokens": 8}
        arrivals = {"path": str(trace)} if kind == "replay" else ARRIVALS[kind]
        file = tmp_path / "workload.yaml"
        file.write_text(
            json.dumps(
                {
                    "num_requests": 40,
                    "arrivals": {"kind": kind, **arrivals},
                    "lengths": {"kind": "sampled", "input": eight, "output": eight},
                }
            )
        )
        workload = str(file)
    load = LoadConfig(workload=workload, num_requests=40)
    own = prepare_capacity(config(load), MACHINE).plan
    capped = prepare_capacity(config(replace(load, max_concurrency=CAP)), MACHINE)
    plan = capped.plan
    assert plan.requests == own.requests
    assert plan.adjustments == own.adjustments
    assert (plan.max_concurrency, capped.config.load.max_concurrency) == (CAP, CAP)
    arrivals = own.description["arrivals"]
    assert isinstance(arrivals, dict)
    capped_arrivals = {**arrivals, "max_concurrency": CAP}
    assert plan.description == {**own.description, "arrivals": capped_arrivals}


def test_what_was_changed_of_the_workload_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """A closed loop has no rate, so other arrivals are searched with; what the search itself does
    to their gaps is no news."""
    load = LoadConfig(workload="quick", num_requests=20)
    goal = CapacityGoal({"ttft": 2.0}, rate_tolerance=0.2)
    found = engine_capacity(prepare_capacity(config(load), MACHINE), goal, Silent())
    print_capacities([found, found], goal)
    said = " ".join(capsys.readouterr().out.split())
    assert said.count("arrivals are poisson, not the workload's own closed_loop") == 1
    assert GAPS_MULTIPLIED not in said
    (engine,) = json.loads(capacity_json([found], goal))["engines"]
    assert engine["adjustments"] == list(found.adjustments)
