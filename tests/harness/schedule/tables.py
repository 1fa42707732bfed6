"""Scenarios as short tables: a row is (id, prompt, output) and whatever else the test is about."""

from __future__ import annotations

from typing import Any

from llmbench.harness.schedule import Scenario, ScenarioLimits, ScenarioRequest


def row(name: str, prompt: int, output: int, arrival: int = 0, **other: Any) -> ScenarioRequest:
    return ScenarioRequest(
        id=name, prompt_tokens=prompt, output_tokens=output, arrival_step=arrival, **other
    )


def scenario(
    engine: Any, *rows: ScenarioRequest, budget: int = 32, seqs: int = 8, **other: Any
) -> Scenario:
    """Blocks of 4 tokens, 16 of them, unless said otherwise."""
    data = {"block_size": 4, "pool_blocks": 16} | other
    if data.get("pool_tokens"):
        del data["pool_blocks"]
    limits = ScenarioLimits(max_num_seqs=seqs, max_num_batched_tokens=budget)
    return Scenario.model_validate({"engine": engine, "limits": limits, "requests": rows} | data)
