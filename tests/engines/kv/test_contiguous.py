from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from llmbench.engines.errors import ConfigError
from llmbench.engines.kv.arena import FirstFitArena, Run
from llmbench.engines.kv.contiguous import ContiguousKVCache
from llmbench.engines.state import RequestState
from llmbench.engines.step import Chunk, StepPlan

from ..drive import make_request


def state(name: str, prompt: int, output: int = 4) -> RequestState:
    return RequestState(make_request(name, prompt, output))


def test_first_fit_takes_the_lowest_hole_and_freed_neighbours_merge() -> None:
    arena = FirstFitArena(30)
    first, second, third = arena.take(10), arena.take(10), arena.take(10)
    assert (first, second, third) == (Run(0, 10), Run(10, 10), Run(20, 10))
    assert arena.take(1) is None
    arena.give(Run(0, 10))
    arena.give(Run(20, 10))
    # Twenty slots are free, but not in one piece.
    assert arena.free_slots == 20
    assert arena.has_room(10, count=2)
    assert not arena.has_room(11)
    assert arena.take(15) is None
    arena.give(Run(10, 10))
    assert arena.has_room(30)


def test_a_request_reserves_the_longest_it_could_become() -> None:
    kv = ContiguousKVCache(slots=64, max_model_len=32)
    request = state("a", 3, 2)
    assert kv.extend(request, 3)
    request.computed_tokens = 3
    usage = kv.usage([request], None)
    assert (usage.used_tokens, usage.held_tokens) == (3, 32)
    assert kv.extend(request, 32)
    assert not kv.extend(request, 33)


def test_free_room_too_small_for_the_head_of_the_queue_is_external_waste() -> None:
    kv = ContiguousKVCache(slots=40, max_model_len=32)
    kv.extend(state("a", 3), 3)
    assert kv.usage([], state("b", 3)).external_tokens == 8
    assert kv.usage([], None).external_tokens == 0


def test_layout_writes_and_reads_one_run() -> None:
    kv = ContiguousKVCache(slots=64, max_model_len=32)
    first, second = state("a", 4), state("b", 6)
    kv.extend(first, 4)
    kv.extend(second, 6)
    layout = kv.layout(StepPlan(prefills=(Chunk(second, 2, 3),), decodes=(Chunk(first, 3, 1),)))
    assert layout.starts == [32, 0]
    assert layout.slot_mapping == [34, 35, 36, 3]


def test_an_arena_smaller_than_one_request_is_refused() -> None:
    with pytest.raises(ConfigError, match="kv_memory"):
        ContiguousKVCache(slots=16, max_model_len=32)


class ArenaMachine(RuleBasedStateMachine):
    """Any order of take and give, against a plain array of slots."""

    def __init__(self) -> None:
        super().__init__()
        self.arena = FirstFitArena(40)
        self.taken = [False] * 40
        self.runs: list[Run] = []

    @rule(length=st.integers(1, 40))
    def take(self, length: int) -> None:
        run = self.arena.take(length)
        starts = [s for s in range(41 - length) if not any(self.taken[s : s + length])]
        assert run == (Run(starts[0], length) if starts else None)
        if run:
            self.taken[run.start : run.end] = [True] * length
            self.runs.append(run)

    @rule(data=st.data())
    def give(self, data: st.DataObject) -> None:
        if self.runs:
            run = self.runs.pop(data.draw(st.integers(0, len(self.runs) - 1)))
            self.arena.give(run)
            self.taken[run.start : run.end] = [False] * run.length

    @invariant()
    def holes_are_what_is_not_taken(self) -> None:
        assert self.arena.free_slots == self.taken.count(False)
        pieces = "".join("x" if taken else "." for taken in self.taken).split("x")
        longest = max(map(len, pieces))
        assert not self.arena.has_room(longest + 1)
        assert longest == 0 or self.arena.has_room(longest)


TestArenaMachine = ArenaMachine.TestCase
