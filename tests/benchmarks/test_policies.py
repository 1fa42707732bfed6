"""What a step's bookkeeping costs: policy, KV cache and commit at 256 running sequences, no model.

Goal: under 500 µs a step on one core (stretch 150), whatever waits. Building the step trace is
measured by itself.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from llmbench.engines.api import Request, SamplingParams
from llmbench.engines.batching.base import Planning
from llmbench.engines.core import EngineCore
from llmbench.engines.executors.base import StepResult
from llmbench.engines.kv.base import KVPlacement, Move
from llmbench.engines.step import Limits, StepPlan
from llmbench.engines.strategy import Strategy

from ..engines.drive import ADMISSION, BATCHING, StepClock, make_kv

RUNNING = 256
PROMPT, OUTPUT = 64, 4096
MAX_MODEL_LEN = PROMPT + OUTPUT
ENGINES = [
    ("separate", "optimistic", "paged"),
    ("separate", "optimistic", "contiguous"),
    ("unified", "optimistic", "paged"),
    ("unified", "optimistic", "contiguous"),
    ("inflight", "reserve", "paged"),
    ("inflight", "reserve", "contiguous"),
    ("inflight", "optimistic", "paged"),
]


class NoModel:
    """Answers at once."""

    def execute(self, plan: StepPlan, kv: KVPlacement, moves: Sequence[Move]) -> StepResult:
        del kv, moves
        return StepResult([0 for chunk in plan.chunks if chunk.reaches_tail])


def full_house(batching: str, admission: str, kv: str, waiting: int, prefix: bool) -> EngineCore:
    """256 sequences that decode, and others that wait for a seat."""
    options = {"prefix_cache": True} if prefix else {}
    strategy = Strategy(
        BATCHING[batching](),
        ADMISSION[admission](),
        make_kv(kv, RUNNING * MAX_MODEL_LEN, MAX_MODEL_LEN, 16, **options),
        Limits(RUNNING, RUNNING * PROMPT, MAX_MODEL_LEN),
    )
    core = EngineCore(strategy, NoModel(), StepClock())
    for index in range(RUNNING + waiting):
        prompt = range(index, index + PROMPT)
        core.add(Request(f"r{index}", prompt, SamplingParams(max_tokens=OUTPUT)))
    while len(core._ledger.queues.running) < RUNNING or not core.step().events:
        core.step()
    return core


def plan_and_commit(core: EngineCore) -> None:
    """A step without its trace: what the policies, the KV cache and the commit cost."""
    strategy = core.strategy
    plan = strategy.batching.plan(
        Planning(core._ledger.queues, strategy.kv, strategy.admission, strategy.limits, 0.0)
    )
    result = StepResult([0] * len(plan.chunks))
    _, broken = core._commit(plan.chunks, result, 0.0)
    assert not broken


@pytest.mark.benchmark(group="plan and commit a step, 256 running")
@pytest.mark.parametrize("waiting", [0, 1_000, 100_000])
@pytest.mark.parametrize("axes", ENGINES, ids="-".join)
def test_plan_and_commit(benchmark, axes: tuple[str, str, str], waiting: int) -> None:
    core = full_house(*axes, waiting, prefix=False)
    benchmark.pedantic(lambda: plan_and_commit(core), rounds=200, warmup_rounds=20)


@pytest.mark.benchmark(group="plan and commit a step with a prefix cache, 256 running")
@pytest.mark.parametrize("waiting", [0, 100_000])
@pytest.mark.parametrize("batching", ["separate", "unified", "inflight"])
def test_plan_and_commit_with_prefix_cache(benchmark, batching: str, waiting: int) -> None:
    core = full_house(batching, "optimistic", "paged", waiting, prefix=True)
    benchmark.pedantic(lambda: plan_and_commit(core), rounds=200, warmup_rounds=20)


@pytest.mark.benchmark(group="a whole step with its trace, 256 running")
@pytest.mark.parametrize("axes", ENGINES, ids="-".join)
def test_whole_step(benchmark, axes: tuple[str, str, str]) -> None:
    core = full_house(*axes, 1_000, prefix=False)
    benchmark.pedantic(core.step, rounds=200, warmup_rounds=20)
