"""What the real policies do, split: what the engine counts itself must come out again."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llmbench.engines.core import EngineCore
from llmbench.engines.executors.base import StepResult
from llmbench.engines.kv.base import KVPlacement, Move
from llmbench.engines.step import StepPlan
from llmbench.engines.trace import PhaseTimes
from llmbench.harness.attribution import attribute, timeline_of_traces
from llmbench.harness.attribution.partition import PARTS
from llmbench.harness.run.drive import Observation, drive
from llmbench.harness.run.record import RequestStatus
from llmbench.workloads.api import Plan, PlannedRequest

from ...engines.drive import CountingExecutor, make_core

MIXED = ("unified", "inflight", "sarathi")
ENGINES = [*product(("separate", *MIXED, "static"), ("optimistic", "reserve"), ("paged",))]


class TimedExecutor(CountingExecutor):
    """Says where its second went."""

    def execute(self, plan: StepPlan, kv: KVPlacement, moves: Sequence[Move]) -> StepResult:
        times = PhaseTimes(prepare_s=0.125, attention_s=0.25, linear_s=0.5, sample_s=0.0625)
        return replace(super().execute(plan, kv, moves), times=times)


def serve(engine: tuple[str, str, str], seed: int) -> Observation:
    """A dozen requests in a pool that holds two or three of them."""
    rng = random.Random(seed)
    executor = TimedExecutor()
    made = make_core(*engine, pool_tokens=40, max_model_len=32)
    core = EngineCore(made.strategy, executor, executor.clock)
    requests = tuple(
        PlannedRequest(
            at, at * rng.choice([0.0, 0.7]), (1,) * rng.randint(1, 16), rng.randint(1, 16)
        )
        for at in range(12)
    )
    return drive(core, executor.clock, Plan(requests, None))


@pytest.mark.parametrize("engine", ENGINES, ids="-".join)
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=15, deadline=None)
def test_what_the_engine_counts_comes_out_again(engine: tuple[str, str, str], seed: int) -> None:
    seen = serve(engine, seed)
    timeline = timeline_of_traces([one.request_id for one in seen.records], seen.steps)
    found = attribute(seen.records, timeline)
    served = [one for one in seen.records if one.status is RequestStatus.OK]
    assert len(found.ttft) == len(served) == 12

    parts = {name: np.zeros(12) for name in PARTS}
    for latencies in (found.ttft, found.streams):
        assert (latencies.parts >= -1e-9).all()
        assert latencies.parts.sum(axis=1) == pytest.approx(latencies.length_s, rel=1e-12)
        assert latencies.parts[:, PARTS.index("residual")] == pytest.approx(0, abs=1e-9)
        for at, name in enumerate(PARTS):
            parts[name][latencies.intervals.request] += latencies.parts[:, at]

    # Who was preempted pays for exactly the tokens that the engine computed twice; one that lost
    # its place before anything of it was computed has lost nothing else. Who stands behind such
    # tokens pays for them too. Where none was computed twice, only the preempted pay.
    preempted = np.array([one.preemptions > 0 for one in seen.records])
    recomputed = np.array([one.recomputed_tokens > 0 for one in seen.records])
    paid = parts["preemption"] > 0
    assert (recomputed <= paid).all()
    if not recomputed.any():
        assert (paid <= preempted).all()
    own = timeline.own
    lengths = np.array(
        [
            next(one.length for one in seen.steps[step].chunks if one.request_id == f"r{request}")
            for request, step in zip(own.request.tolist(), own.step.tolist(), strict=True)
        ]
    )
    again = np.bincount(own.request, own.again * lengths, minlength=12)
    assert again == pytest.approx([one.recomputed_tokens for one in seen.records])

    # Until a request is first scheduled all its time is queue.
    queued = np.array([(one.t_scheduled_s or 0.0) - one.t_due_s for one in seen.records])
    assert (found.ttft.parts[:, PARTS.index("queue")] >= queued - 1e-9).all()


@pytest.mark.parametrize("batching", ["separate", *MIXED])
def test_interference_shows_where_each_way_of_batching_has_it(batching: str) -> None:
    """Every step takes a second, whatever it computes. A prompt step of `separate` costs those who
    decode a second; in `mixed` a prompt beside them costs nothing, and the run's decode-only steps
    are evidence of that."""
    seen = serve((batching, "reserve", "paged"), 3)
    timeline = timeline_of_traces([one.request_id for one in seen.records], seen.steps)
    streams = attribute(seen.records, timeline).streams
    waited_s = streams.parts[:, PARTS.index("others_prefill")].sum()

    assert timeline.told.mixed.any() == timeline.told.by_evidence.any() == (batching in MIXED)
    assert waited_s == 0 if batching in MIXED else waited_s >= 1
