"""A prefix cache finds in a Mooncake trace what its hash ids say is there."""

from __future__ import annotations

from pathlib import Path

from llmbench.engines.config import engine_config
from llmbench.harness.config import LoadConfig, RunConfig
from llmbench.harness.run.watch import Silent
from llmbench.harness.simulation.simulate import prepare_simulation, simulate
from llmbench.harness.simulation.simulated_machine import Machine
from llmbench.workloads.traces import read_trace

TRACE = "traces/mooncake_fast25/conversation_trace.jsonl"
ROWS = 200
LONGEST = 12_000
BLOCK = 16


def test_hits_are_those_of_the_hash_ids(shared_data: Path) -> None:
    """One request at a time in a pool that nothing is evicted from: what the cache finds is whole
    blocks of the longest prefix that any earlier row had, never the newest token's."""
    path = shared_data / TRACE
    seen: set[int] = set()
    expected = 0
    for row in read_trace(path)[:ROWS]:
        tokens = min(row.input_tokens, LONGEST)
        known = 0
        for name in row.prefix_block_ids:
            if name not in seen or known >= tokens:
                break
            known = min(known + row.prefix_block_tokens, tokens)
        expected += min(known // BLOCK, (tokens - 1) // BLOCK) * BLOCK
        seen.update(row.prefix_block_ids[: -(-tokens // row.prefix_block_tokens)])

    settings = RunConfig(
        "llama-3.1-8b",
        engine_config("vllm-v1", kv_dtype="fp8"),
        LoadConfig(
            trace=path,
            num_requests=ROWS,
            max_concurrency=1,
            max_input_len=LONGEST,
            max_output_len=1,
        ),
    )
    prepared = prepare_simulation(settings, Machine("h200", devices=8))
    assert prepared.pool_tokens > sum(len(one.prompt_token_ids) for one in prepared.plan.requests)
    result = simulate(prepared, Silent()).result
    assert result.validity.valid
    assert result.counters.prefix_hit_tokens == expected
    assert expected > ROWS * 512 / 2
