"""What the step loop, the driver and the command line cost when the model costs nothing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

import pytest
from llmbench.engines.core import EngineCore
from llmbench.engines.executors.base import StepResult
from llmbench.engines.kv.base import KVPlacement, Move
from llmbench.engines.step import Limits, StepPlan
from llmbench.engines.strategy import Strategy
from llmbench.harness.run.drive import drive
from llmbench.workloads.api import Plan, PlannedRequest

from ..engines.drive import StepClock, make_kv
from ..engines.drive import make_core as make_checked_core

OUTPUT_TOKENS = 64


class NoModel:
    """Answers at once."""

    def execute(self, plan: StepPlan, kv: KVPlacement, moves: Sequence[Move]) -> StepResult:
        del kv, moves
        return StepResult(tuple(0 for chunk in plan.chunks if chunk.reaches_tail))


def make_core(batching: str, admission: str, kv: str) -> EngineCore:
    template = make_checked_core(batching, admission, kv).strategy
    strategy = Strategy(
        template.batching,
        template.admission,
        make_kv(kv, 65536, 2048, 16),
        Limits(256, 2048, 2048),
    )
    return EngineCore(strategy, NoModel(), StepClock())


@pytest.mark.benchmark(group="a run without a model: seconds for 65 steps of 8 requests")
@pytest.mark.parametrize(
    "axes",
    [("separate", "optimistic", "paged"), ("inflight", "reserve", "contiguous")],
    ids=["paged", "inflight"],
)
def test_driver_and_step_loop(benchmark, axes: tuple[str, str, str]) -> None:
    plan = Plan(
        tuple(PlannedRequest(i, None, tuple(range(128)), OUTPUT_TOKENS) for i in range(8)), 8
    )

    def serve():
        return drive(make_core(*axes), StepClock(), plan)

    seen = benchmark(serve)
    benchmark.extra_info["steps"] = len(seen.steps)


@pytest.mark.benchmark(group="llmbench --help")
def test_help(benchmark) -> None:
    """Goal: under half a second."""
    command = [sys.executable, "-c", "from llmbench.harness.cli import main; main(['--help'])"]
    benchmark.pedantic(
        lambda: subprocess.run(command, capture_output=True, check=True), rounds=5, warmup_rounds=1
    )
