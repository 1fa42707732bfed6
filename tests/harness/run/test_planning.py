"""What a load comes to: the workload's own arrivals at a rate that is asked for."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from llmbench.engines.config import engine_config
from llmbench.harness.config import LoadConfig, RunConfig
from llmbench.harness.run.planning import plan_with_warmup, workload_of
from llmbench.harness.run.watch import Silent
from llmbench.harness.simulation.simulate import prepare_simulation, simulate
from llmbench.harness.simulation.simulated_capacity import prepare_capacity
from llmbench.harness.simulation.simulated_machine import Machine
from llmbench.workloads.api import Plan
from llmbench.workloads.scaled import at_rate
from llmbench.workloads.sharing import shared_share

BURSTS = LoadConfig(workload="azure-code", num_requests=40, max_input_len=64, max_output_len=8)
AT_EIGHT = replace(BURSTS, request_rate=8.0, arrival="own")
MACHINE = Machine("h100")


def config(load: LoadConfig) -> RunConfig:
    return RunConfig("llama-3-8b", engine_config("paged"), load)


def planned(load: LoadConfig) -> tuple[Plan, Plan]:
    return plan_with_warmup(
        workload_of(load),
        load,
        seed=0,
        warmup_requests=2,
        corpus_token_ids=range(2000),
        max_model_len=4096,
        vocab_size=2000,
    )


def test_a_simulation_sends_the_bursts_that_a_capacity_is_searched_with() -> None:
    """Both scale the gaps of one draw; `--request-rate` alone is Poisson, and says so."""
    searched = at_rate(prepare_capacity(config(BURSTS), MACHINE).plan, 8.0)
    plan = prepare_simulation(config(AT_EIGHT), MACHINE).plan
    assert plan == searched
    assert plan.description["request_rate_per_s"] == pytest.approx(8.0)
    own = prepare_simulation(config(BURSTS), MACHINE).plan
    assert plan.description["gap_cv"] == own.description["gap_cv"]
    poisson = prepare_simulation(config(replace(AT_EIGHT, arrival=None)), MACHINE).plan
    assert "arrivals are poisson, not the workload's own on_off" in poisson.adjustments


def test_a_run_sends_them_too_and_warms_up_with_all_at_once() -> None:
    plan, warmup = planned(AT_EIGHT)
    own, _ = planned(BURSTS)
    factor = own.description["request_rate_per_s"]
    assert isinstance(factor, float)
    for one, other in zip(plan.requests, own.requests, strict=True):
        assert other.t_due_s is not None
        assert one.t_due_s == pytest.approx(other.t_due_s * factor / 8)
    assert {one.t_due_s for one in warmup.requests} == {0.0}


def test_a_warm_up_never_has_a_measured_prompt() -> None:
    """However many of either are cut from a corpus. Known wrong here: a few of these at the same
    place, so that a server's cache held them, and was taken for warm."""
    plan, warmup = plan_with_warmup(
        workload_of(LoadConfig(workload="fixed", num_requests=500)),
        LoadConfig(workload="fixed", num_requests=500),
        seed=0,
        warmup_requests=100,
        corpus_token_ids=range(2000),
        max_model_len=4096,
        vocab_size=2000,
    )
    begun = {tuple(one.prompt_token_ids[:4]) for one in plan.requests}
    assert not begun & {tuple(one.prompt_token_ids[:4]) for one in warmup.requests}


def test_a_warm_up_that_would_not_fit_refuses_nothing(tmp_path: Path) -> None:
    """20 requests that fit. Known wrong here: refused for a warm-up's length,
    which is in nobody's load."""
    path = tmp_path / "w.yaml"
    path.write_text(
        "num_requests: 20\narrivals: {kind: at_once}\nlengths: {kind: sampled, "
        "input: {kind: lognormal, mu: 4.5, sigma: 0.9}, output: {kind: fixed, tokens: 16}}\n"
    )
    load = LoadConfig(workload=str(path))
    plan, warmup = plan_with_warmup(
        workload_of(load),
        load,
        seed=0,
        warmup_requests=20,
        corpus_token_ids=range(2000),
        max_model_len=1024,
        vocab_size=2000,
    )
    assert len(plan.requests) == 20
    assert max(len(one.prompt_token_ids) for one in plan.requests) < 600
    assert max(len(one.prompt_token_ids) for one in warmup.requests) == 1024 - 16


@pytest.mark.parametrize("kind", ["own", "sessions", "prefix", "trace"])
def test_a_warm_up_shares_no_beginning_with_what_is_measured(tmp_path: Path, kind: str) -> None:
    """Whatever a cache with blocks of 4 tokens would find of a trace's named prefixes and sessions,
    or of the beginning that all prompts have in common."""
    path = tmp_path / "trace.jsonl"
    if kind == "sessions":
        row = {"t_due_s": 0.0, "input_tokens": 100, "output_tokens": 4, "session": "a"}
        rows = [{**row, "input_tokens": 100 * (turn + 1)} for turn in range(4)]
    else:
        row = {"timestamp": 0, "input_length": 600, "output_length": 4}
        rows = [{**row, "hash_ids": [2 * one, 2 * one + 1]} for one in range(4)]
    path.write_text("\n".join(map(json.dumps, rows)))
    load = {
        "own": LoadConfig(num_requests=30),
        "prefix": LoadConfig(num_requests=4, shared_prefix_tokens=40),
    }.get(kind, LoadConfig(trace=path))
    plan, warmup = planned(load)
    begins = {tuple(one.prompt_token_ids[:4]) for one in plan.requests}
    assert not begins & {tuple(one.prompt_token_ids[:4]) for one in warmup.requests}
    if load.trace is not None:
        measured = {len(one.prompt_token_ids) for one in plan.requests[:2]}
        assert {len(one.prompt_token_ids) for one in warmup.requests} <= measured


def test_a_capacity_scales_its_own_arrivals_whether_told_so_or_not() -> None:
    told = prepare_capacity(config(replace(BURSTS, arrival="own")), MACHINE).plan
    assert told == prepare_capacity(config(BURSTS), MACHINE).plan


def test_a_stored_run_of_sessions_is_replayed_as_sessions(tmp_path: Path) -> None:
    """Who waits for whom, how long, and what prompts share; the words are others. As prompts that
    stand alone, a prefix cache would find nothing of them."""
    path = tmp_path / "talk.yaml"
    path.write_text(
        """
num_requests: 40
arrivals: {kind: poisson, rate_per_s: 2}
lengths:
  kind: sampled
  input: {kind: uniform, min_tokens: 20, max_tokens: 60}
  output: {kind: fixed, tokens: 16}
prompts: {kind: random}
sessions:
  turns: {kind: uniform, min_turns: 1, max_turns: 5}
  think_s: {kind: exponential, mean_s: 1}
"""
    )
    prepared = prepare_simulation(config(LoadConfig(workload=str(path))), MACHINE)
    simulate(prepared, Silent()).requests.to_parquet(tmp_path / "requests.parquet")
    replayed = LoadConfig(trace=tmp_path / "requests.parquet")
    again = prepare_simulation(config(replayed), MACHINE).plan

    def told(plan: Plan) -> list[tuple[float, ...]]:
        """When its session begins, tokens in and out, and its think time."""
        begun: dict[int, float] = {}
        rows: list[tuple[float, ...]] = []
        for one in plan.requests:
            begun[one.index] = (one.t_due_s or 0.0) if one.after is None else begun[one.after]
            size = len(one.prompt_token_ids), one.output_tokens
            rows.append((begun[one.index], *size, one.think_s))
        return sorted(rows)

    for one, other in zip(told(again), told(prepared.plan), strict=True):
        assert one == pytest.approx(other)
    assert again.description["num_sessions"] == prepared.plan.description["num_sessions"]
    shared = shared_share(prepared.plan.requests)
    assert shared > 0.3
    assert shared_share(again.requests) >= shared
