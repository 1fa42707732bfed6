"""Sessions and shared prefixes through an engine: what is sent when, and what its cache finds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from llmbench.engines.config import engine_config
from llmbench.harness.config import LoadConfig, RunConfig
from llmbench.harness.run.watch import Silent
from llmbench.harness.simulation.simulate import PreparedSimulation, prepare_simulation, simulate
from llmbench.harness.simulation.simulated_machine import Machine
from llmbench.workloads.preview import shared_share

WORKLOAD = {
    "num_requests": 60,
    "arrivals": {"kind": "closed_loop", "max_concurrency": 1},
    "lengths": {
        "kind": "sampled",
        "input": {"kind": "fixed", "tokens": 70},
        "output": {"kind": "fixed", "tokens": 11},
    },
    "sessions": {
        "turns": {"kind": "uniform", "min_turns": 1, "max_turns": 5},
        "think_s": {"kind": "exponential", "mean_s": 1},
    },
}
SHARED = {"shared_prefix_tokens": 40, "shared_prefix_count": 3, "shared_prefix_ratio": 0.7}


def prepared(tmp_path: Path, kind: str) -> PreparedSimulation:
    path = tmp_path / "w.yaml"
    path.write_text(json.dumps({**WORKLOAD, "prompts": {"kind": kind, **SHARED}}))
    load = LoadConfig(workload=str(path))
    settings = RunConfig("llama-3.1-8b", engine_config("vllm-v1"), load)
    return prepare_simulation(settings, Machine("h100"))


@pytest.mark.parametrize("kind", ["corpus", "random"])
def test_a_prefix_cache_finds_what_the_preview_counts(tmp_path: Path, kind: str) -> None:
    """In blocks of 16, one request at a time, in a pool that nothing is evicted from. No prompt is
    a multiple of 16 tokens long, so that it does not matter which session comes first."""
    run = prepared(tmp_path, kind)
    tokens = sum(len(one.prompt_token_ids) for one in run.plan.requests)
    result = simulate(run, Silent()).result
    assert result.validity.valid
    assert all(len(one.prompt_token_ids) % 16 for one in run.plan.requests)
    expected = round(shared_share(run.plan.requests) * tokens)
    assert result.counters.prefix_hit_tokens == expected
    assert expected > tokens / 4


def test_a_turn_is_sent_its_think_time_after_the_reply(tmp_path: Path) -> None:
    run = prepared(tmp_path, "random")
    found = simulate(run, Silent()).requests.to_dict("records")
    rows = {row["index"]: row for row in found}
    later = [one for one in run.plan.requests if one.after is not None]
    assert len(later) > 20
    for one in later:
        row, before = rows[one.index], rows[one.after]
        assert row["t_due_s"] == pytest.approx(before["t_end_s"] + one.think_s)
        assert row["t_send_s"] >= row["t_due_s"]
