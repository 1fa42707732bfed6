"""What it costs to simulate: seconds for 100 000 tokens, which must not grow with the trace.

On a machine that others use, count the processor's seconds: --benchmark-timer=time.process_time.
The whole Azure trace, planned, simulated, stored and reported (goal: under 30 s on one core):

    time llmbench simulate --model llama-3-70b --hardware h100 --tensor-parallel 4 \\
        --engine trtllm --trace AzureLLMInferenceTrace_conv.csv --max-input-len 7192
"""

from __future__ import annotations

import pytest
from llmbench.engines.config import engine_config
from llmbench.harness.config import LoadConfig, RunConfig
from llmbench.harness.run.watch import Silent
from llmbench.harness.simulation.simulate import observe, prepare_simulation
from llmbench.harness.simulation.simulated_machine import Machine


@pytest.mark.benchmark(group="simulate azure-conv, llama-3-70b on 4 x H100")
@pytest.mark.parametrize("num_requests", [500, 1000, 2000])
@pytest.mark.parametrize("engine", ["trtllm", "paged"])
def test_simulated_tokens_a_second(benchmark, engine: str, num_requests: int) -> None:
    """Goal: the same tokens a second whatever the number of requests."""
    load = LoadConfig(workload="azure-conv", num_requests=num_requests, max_input_len=7192)
    settings = RunConfig("llama-3-70b", engine_config(engine), load)
    prepared = prepare_simulation(settings, Machine("h100", devices=4))
    seen = benchmark.pedantic(lambda: observe(prepared, Silent()), rounds=2)
    tokens = sum(one.input_tokens + one.output_tokens for one in seen.records)
    seconds = benchmark.stats.stats.min
    benchmark.extra_info.update(
        steps=len(seen.steps),
        tokens=tokens,
        tokens_per_s=round(tokens / seconds),
        s_per_100_000_tokens=round(seconds / tokens * 1e5, 4),
    )
    print(f"\n{engine}, {num_requests} requests: {tokens / seconds:,.0f} tokens/s simulated")
