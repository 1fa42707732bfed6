"""A simulated step: what it is charged for, by hand, and how far the clock moves."""

from __future__ import annotations

import pytest
from llmbench.engines.api import Request, SamplingParams
from llmbench.engines.clock import VirtualClock
from llmbench.engines.core import EngineCore
from llmbench.engines.cost.work import StepWork
from llmbench.engines.executors.simulated import SimulatedExecutor
from llmbench.engines.kv.base import Move
from llmbench.engines.state import RequestState
from llmbench.engines.step import Chunk, Limits, StepPlan
from llmbench.engines.strategy import Strategy
from llmbench.engines.trace import PhaseTimes

from ..drive import ADMISSION, BATCHING, make_kv

TIMES = PhaseTimes(
    schedule_s=0.5,
    prepare_s=0.25,
    attention_s=1.0,
    linear_s=2.0,
    sample_s=0.125,
    communicate_s=4.0,
    swap_s=8.0,
    host_s=16.0,
)


class Recorded:
    """Every step takes the same; remembers what it was asked to price."""

    def __init__(self) -> None:
        self.works: list[StepWork] = []

    def price(self, work: StepWork) -> PhaseTimes:
        self.works.append(work)
        return TIMES


def state(name: str, prompt: int, computed: int = 0, generated: int = 0, n: int = 1):
    made = RequestState(Request(name, tuple(range(prompt)), SamplingParams(max_tokens=9, n=n), 0.0))
    made.samples = n
    made.computed_tokens = computed
    made.output_ids.extend([1] * generated)
    made.known_tokens = prompt + generated
    return made


def execute(plan: StepPlan, moves: tuple[Move, ...] = (), window: int | None = None):
    cost, clock = Recorded(), VirtualClock()
    executor = SimulatedExecutor(cost, clock, window)
    result = executor.execute(plan, make_kv("paged", 64, 64, 16), moves)
    return result, cost.works[0], clock.now()


def test_a_step_is_charged_for_its_chunks_and_the_clock_moves_by_its_price() -> None:
    prompt = state("a", prompt=5)
    decoding = state("b", prompt=6, computed=7, generated=2)
    plan = StepPlan((Chunk(prompt, 0, 5),), (Chunk(decoding, 7, 1),))
    result, work, now_s = execute(plan)
    assert work == StepWork(
        prefill_tokens=5,
        prefill_chunks=1,
        prefill_pairs=1 + 2 + 3 + 4 + 5,
        prefill_context_tokens=5,
        decode_tokens=1,
        decode_context_tokens=8,  # seven cached keys and its own
        sampled_rows=2,
    )
    assert len(result.token_ids) == 2
    assert now_s == 0.5 + 0.25 + 1 + 2 + 0.125 + 4 + 8 + 16
    # schedule and host are no part of a forward pass.
    assert result.times.executed_s == 0.25 + 1 + 2 + 0.125 + 4 + 8


def test_a_chunk_in_the_middle_of_a_prompt_samples_nothing() -> None:
    result, work, _ = execute(StepPlan((Chunk(state("a", prompt=12, computed=4), 4, 3),)))
    assert result.token_ids == []
    assert work.sampled_rows == 0
    assert work.prefill_pairs == 5 + 6 + 7
    assert work.prefill_context_tokens == 7


def test_samples_are_drawn_from_one_row_of_logits() -> None:
    result, work, _ = execute(StepPlan((Chunk(state("a", prompt=4, n=3), 0, 4),)))
    assert len(result.token_ids) == 3
    assert work.sampled_rows == 1


def test_swapped_tokens_are_those_that_cross_to_the_host() -> None:
    moves = (Move("out", 0, 0, 2), Move("in", 1, 3, 1), Move("copy", 0, 2, 4))
    plan = StepPlan((), (Chunk(state("a", prompt=2, computed=2, generated=1), 2, 1),))
    _, work, _ = execute(plan, moves)
    assert work.swap_tokens == (2 + 1) * 16


def test_a_sliding_window_bounds_what_is_attended() -> None:
    early = state("a", prompt=2, computed=2, generated=1)
    late = state("b", prompt=9, computed=10, generated=2)
    plan = StepPlan((Chunk(state("c", prompt=6), 0, 6),), (Chunk(early, 2, 1), Chunk(late, 10, 1)))
    _, work, _ = execute(plan, window=4)
    assert work.decode_context_tokens == 3 + 4
    assert work.prefill_pairs == 1 + 2 + 3 + 4 + 4 + 4
    assert work.prefill_context_tokens == 6


@pytest.mark.parametrize("batching", ["separate", "unified"])
def test_the_parts_of_a_simulated_step_are_its_duration(batching: str) -> None:
    clock, cost = VirtualClock(), Recorded()
    kv = make_kv("paged", 64, 32)
    strategy = Strategy(BATCHING[batching](), ADMISSION["optimistic"](), kv, Limits(4, 32, 32))
    core = EngineCore(strategy, SimulatedExecutor(cost, clock), clock)
    core.add(Request("a", (1, 2, 3), SamplingParams(max_tokens=3, ignore_eos=True), 0.0))
    traces = []
    while core.has_work():
        traces.append(core.step().trace)
    assert [trace.end_s - trace.start_s for trace in traces] == [TIMES.total_s] * 3
    for trace in traces:
        assert trace.phases.attention_s == 1.0
        assert trace.phases.linear_s == 2.0
        assert trace.phases.swap_s == 8.0
        # A calibration's schedule and host have no clock of their own: the step's remainder.
        assert trace.phases.host_s == 0.5 + 16
