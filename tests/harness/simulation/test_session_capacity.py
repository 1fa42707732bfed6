"""A capacity of sessions, and what is said of it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from llmbench.engines.config import engine_config
from llmbench.harness.cli.capacity_json import capacity_json
from llmbench.harness.cli.capacity_tables import (
    notes,
    print_capacities,
    sentence,
)
from llmbench.harness.config import LoadConfig, RunConfig
from llmbench.harness.run.watch import Silent
from llmbench.harness.simulation.capacity_goal import CapacityGoal
from llmbench.harness.simulation.simulate import PreparedSimulation
from llmbench.harness.simulation.simulated_capacity import (
    engine_capacity,
    prepare_capacity,
)
from llmbench.harness.simulation.simulated_machine import Machine

from .test_simulated_capacity import STEP_S, Constant

THINK_S = 10.0


def thoughtful(directory: Path, count: int) -> PreparedSimulation:
    """Sessions of four turns with ten seconds of thought between, one step each, one request at a
    time."""
    path = directory / "sessions.yaml"
    tokens, one = {"kind": "fixed", "tokens": 8}, {"kind": "fixed", "tokens": 1}
    sessions = {
        "turns": {"kind": "fixed", "turns": 4},
        "think_s": {"kind": "fixed", "seconds": THINK_S},
    }
    path.write_text(
        json.dumps(
            {
                "num_requests": count,
                "arrivals": {"kind": "constant", "rate_per_s": 1.0},
                "lengths": {"kind": "sampled", "input": tokens, "output": one},
                "prompts": {"kind": "random"},
                "sessions": sessions,
            }
        )
    )
    engine = engine_config("paged", max_num_seqs=1, max_model_len=128)
    config = RunConfig("llama-3-8b", engine, LoadConfig(workload=str(path)), slo_s={})
    return replace(prepare_capacity(config, Machine("h100")), cost=Constant())


def test_sessions_that_all_begin_in_a_fraction_of_one_are_a_burst(tmp_path: Path) -> None:
    """Twenty begin within three seconds and last thirty. Known wrong here: later turns counted as
    arrivals and a session as one request, so the burst was 80 latencies long, and none."""
    goal = CapacityGoal({"ttft": STEP_S * 1.5}, attainment=0.9)
    found = engine_capacity(thoughtful(tmp_path, 80), goal, Silent())
    assert found.search.outcome == "found"
    capacity = found.capacity_per_s
    assert found.burst == pytest.approx(19 / capacity / (3 * THINK_S + 4 * STEP_S), rel=0.05)
    (said,) = (text for text in notes(found) if "burst" in text)
    assert said.startswith("arrivals lasted only 0.1 times as long as a session: the capacity of a")


def pairs_of_turns(directory: Path, count: int = 60) -> PreparedSimulation:
    """Sessions of two turns without a thought between, one step each, one request at a time."""
    path = directory / "sessions.yaml"
    tokens = {"kind": "fixed", "tokens": 8}
    one = {"kind": "fixed", "tokens": 1}
    path.write_text(
        json.dumps(
            {
                "num_requests": count,
                "arrivals": {"kind": "constant", "rate_per_s": 1.0},
                "lengths": {"kind": "sampled", "input": tokens, "output": one},
                "prompts": {"kind": "random"},
                "sessions": {"turns": {"kind": "fixed", "turns": 2}},
            }
        )
    )
    engine = engine_config("paged", max_num_seqs=1, max_model_len=64)
    config = RunConfig("llama-3-8b", engine, LoadConfig(workload=str(path)), slo_s={})
    return replace(prepare_capacity(config, Machine("h100")), cost=Constant())


def test_a_capacity_of_sessions_is_said_to_be_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A session takes two steps, so nobody waits with gaps of two steps or more: 4 sessions a
    second, which are 8 requests. Known wrong here: "capacity, requests/s 4.00"."""
    goal = CapacityGoal({"ttft": STEP_S * 1.0001}, attainment=0.9, rate_tolerance=0.01)
    found = engine_capacity(pairs_of_turns(tmp_path), goal, Silent())
    assert found.capacity_per_s == pytest.approx(1 / (2 * STEP_S), rel=0.02)
    assert found.requests_per_s == pytest.approx(1 / STEP_S, rel=0.02)
    said = sentence(found, goal)
    assert re.search(r"up to [\d.]+ sessions/s \(95 %.*; at [\d.]+ sessions/s ", said)
    print_capacities([found], goal)
    out = capsys.readouterr().out
    rows = dict(re.findall(r"^(capacity, \S+|  in \S+) +([\d.]+)$", out, re.MULTILINE))
    assert float(rows["capacity, sessions/s"]) == pytest.approx(found.capacity_per_s, rel=0.01)
    assert float(rows["  in requests/s"]) == pytest.approx(found.requests_per_s, rel=0.01)
    assert "gaps between their beginnings change" in " ".join(out.split())
    (told,) = json.loads(capacity_json([found], goal))["engines"]
    assert (told["rates_of"], told["requests_per_session"]) == ("sessions", 2.0)
    assert told["capacity_requests_per_s"] == pytest.approx(2 * told["capacity_per_s"])
    assert found.run is not None
    config = found.run.result.config
    assert (config["request_rate"], config["session_rate"]) == (None, found.capacity_per_s)


def test_sessions_that_begin_at_once_do_not_send_all_requests_at_once(tmp_path: Path) -> None:
    goal = CapacityGoal({"ttft": 60 * STEP_S}, attainment=1.0)
    found = engine_capacity(pairs_of_turns(tmp_path), goal, Silent())
    assert found.search.outcome == "always"
    assert sentence(found, goal).endswith(
        "at any rate, even with all sessions begun at once, each turn after the reply before it"
    )
