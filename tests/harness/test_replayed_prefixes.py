"""A stored run that is sent again shares as much as it did, and its prefix cache finds that."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from llmbench.engines.config import engine_config
from llmbench.harness.config import LoadConfig, RunConfig
from llmbench.harness.run.watch import Silent
from llmbench.harness.simulation.simulate import prepare_simulation, simulate
from llmbench.harness.simulation.simulated_machine import Machine
from llmbench.harness.storage.store import write_run


def test_a_replay_finds_what_the_run_found(tmp_path: Path) -> None:
    """Known wrong here: nothing was found."""
    load = LoadConfig(
        workload="azure-conv",
        num_requests=100,
        shared_prefix_tokens=256,
    )
    settings = RunConfig("llama-3.1-8b", engine_config("vllm-v1"), load)
    first = simulate(prepare_simulation(settings, Machine("h100")), Silent())
    hits = first.result.counters.prefix_hit_tokens
    assert hits is not None
    assert hits > 50 * 256
    stored = write_run(tmp_path / "first", first.result, first.requests, first.steps, {})
    again = replace(settings, load=LoadConfig(trace=stored))
    found = simulate(prepare_simulation(again, Machine("h100")), Silent()).result
    assert found.counters.prefix_hit_tokens == hits
    assert found.workload.adjustments == ()
