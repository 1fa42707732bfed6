"""Repeats in virtual time: refused where a seed changes nothing, and only there."""

from __future__ import annotations

from pathlib import Path

import pytest
from llmbench.engines.config import engine_config
from llmbench.engines.errors import ConfigError
from llmbench.harness.cells.simulated import SimulatedCells
from llmbench.harness.config import LoadConfig, RunConfig
from llmbench.harness.run.drive import Progress
from llmbench.harness.simulation.simulated_machine import Machine

CLOSED = "{kind: closed_loop, max_concurrency: 4}"
THINK = "sessions: {turns: {kind: fixed, turns: 4}, think_s: {kind: exponential, mean_s: 2}}"
PREFIXES = "{kind: random, shared_prefix_tokens: 64, shared_prefix_count: 4}"


class Quiet:
    """A watch that says nothing."""

    def stage(self, text: str) -> None: ...

    def progress(self, progress: Progress) -> None: ...


def cells(
    directory: Path, rest: str, prompts: str = "{kind: random}", engine: str = "paged"
) -> SimulatedCells:
    """40 requests of 80 tokens in and 8 out, closed loop of four: all alike but for `rest`."""
    path = directory / "w.yaml"
    path.write_text(
        f"""
name: w
num_requests: 40
arrivals: {CLOSED}
lengths:
  kind: sampled
  input: {{kind: fixed, tokens: 80}}
  output: {{kind: fixed, tokens: 8}}
prompts: {prompts}
{rest}
"""
    )
    load = LoadConfig(workload=str(path))
    settings = RunConfig(
        model="smollm2-135m", engine=engine_config(engine), load=load, command="the command"
    )
    return SimulatedCells(settings, Machine("l40s"), Quiet())


def test_think_times_of_another_seed_are_another_load(tmp_path: Path) -> None:
    """Known wrong here: refused, though the two runs take 25.4 s and 9.5 s."""
    made = cells(tmp_path, THINK)
    assert made.identify({}, 0).fingerprint != made.identify({}, 1).fingerprint
    lasted_s = [made.measure({}, seed).result.duration_s for seed in (0, 1)]
    assert lasted_s[0] != pytest.approx(lasted_s[1], rel=0.01)


def test_sessions_that_are_alike_with_every_seed_are_refused(tmp_path: Path) -> None:
    made = cells(tmp_path, "sessions: {turns: {kind: fixed, turns: 4}}")
    made.identify({}, 0)
    with pytest.raises(ConfigError, match=r"repeats: .*at the same times"):
        made.identify({}, 1)


def test_which_prompts_begin_alike_counts_where_a_prefix_cache_finds_it(tmp_path: Path) -> None:
    """Four prefixes of four blocks: each seed gives them to other requests."""
    made = cells(tmp_path, "", PREFIXES)
    made.identify({"prefix_cache": True}, 0)
    made.identify({"prefix_cache": True}, 1)
    lasted_s = [made.measure({"prefix_cache": True}, seed).result.duration_s for seed in (0, 1)]
    assert lasted_s[0] != lasted_s[1]
    made.identify({"prefix_cache": False}, 0)
    with pytest.raises(ConfigError, match=r"repeats: .*at the same times"):
        made.identify({"prefix_cache": False}, 1)


def test_other_words_that_share_as_much_are_the_same_to_a_prefix_cache(tmp_path: Path) -> None:
    made = cells(tmp_path, "", "{kind: random, shared_prefix_tokens: 64}")
    made.identify({"prefix_cache": True}, 0)
    with pytest.raises(ConfigError, match=r"repeats: .*at the same times"):
        made.identify({"prefix_cache": True}, 1)
