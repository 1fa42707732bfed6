"""The twin held against a run whose step times are known exactly: one that was simulated itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from llmbench.engines.config import engine_config
from llmbench.engines.errors import ConfigError
from llmbench.harness.calibrate import calibrate_runs
from llmbench.harness.cli.progress import Silent
from llmbench.harness.config import LoadConfig, RunConfig
from llmbench.harness.simulate import prepare_simulation, simulate
from llmbench.harness.simulated_machine import Machine
from llmbench.harness.store import StoredRun
from llmbench.harness.twin import CHECKED, engine_of, hold_against, plan_of

LOAD = LoadConfig(
    workload="azure-conv", num_requests=100, request_rate=0.7, max_input_len=600, max_output_len=60
)


def stored(name: str, seed: int, engine: str = "paged", load: LoadConfig = LOAD) -> StoredRun:
    """A run on a machine whose step times follow a roofline, without noise."""
    settings = RunConfig(
        "smollm2-135m", engine_config(engine, dtype="bfloat16", max_num_seqs=16), load, seed
    )
    measured = simulate(prepare_simulation(settings, Machine("cpu")), Silent())
    config = {**measured.result.config, "device": "cpu"}
    result = measured.result.model_copy(update={"simulation": None, "config": config})
    return StoredRun(Path(name), result, measured.requests, measured.steps)


@pytest.fixture(scope="module")
def run() -> StoredRun:
    return stored("seen", 1)


@pytest.mark.parametrize("engine", ["paged", "trtllm", "vllm-v1"])
def test_a_machine_without_noise_is_predicted(run: StoredRun, engine: str) -> None:
    """A roofline is the larger of two lines in each part, the calibration a sum of a few: they
    agree where both are lines, and nearly so in between."""
    held = hold_against(
        calibrate_runs([run, stored("mixed", 3, "trtllm")]), stored("unseen", 2, engine), Silent()
    )
    assert [one.quantity for one in held] == list(CHECKED)
    assert max(abs(one.error) for one in held) < 0.05


def test_requests_are_sent_again_as_they_were(run: StoredRun) -> None:
    plan = plan_of(run)
    assert [len(one.prompt_token_ids) for one in plan.requests] == list(
        run.requests["input_tokens"]
    )
    assert [one.output_tokens for one in plan.requests] == list(run.requests["output_tokens"])
    assert [one.t_due_s for one in plan.requests] == list(run.requests["t_due_s"])
    firsts = {one.prompt_token_ids[0] for one in plan.requests}
    assert len(firsts) == len(plan.requests)


def test_a_closed_loop_and_samples_and_a_prefix_come_back() -> None:
    load = LoadConfig(workload="fixed", num_requests=6, samples=2, shared_prefix_tokens=32)
    plan = plan_of(stored("closed", 1, "trtllm", load))
    assert {one.t_due_s for one in plan.requests} == {None}
    assert plan.max_concurrency == 8
    assert {one.samples for one in plan.requests} == {2}
    assert len({tuple(one.prompt_token_ids[:32]) for one in plan.requests}) == 1
    assert len({one.prompt_token_ids[32] for one in plan.requests}) == 6


@pytest.mark.parametrize("name", ["paged", "inflight", "orca", "vllm-v1"])
def test_an_engine_comes_back_from_its_result(name: str) -> None:
    settings = RunConfig("smollm2-135m", engine_config(name), replace(LOAD, num_requests=2))
    prepared = prepare_simulation(settings, Machine("h100"))
    config = simulate(prepared, Silent()).result.config
    assert engine_of({**config, "device": "auto"}) == prepared.engine


def test_a_run_that_was_fitted_proves_nothing(run: StoredRun) -> None:
    with pytest.raises(ConfigError, match=r"check: 'seen' is not allowed; .*not fitted to"):
        hold_against(calibrate_runs([run]), run, Silent())
