from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from llmbench.engines.errors import ConfigError
from llmbench.engines.kv.arena import BuddyArena, FirstFitArena, Run
from llmbench.engines.kv.contiguous import ArenaKind, ContiguousKVCache
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


@pytest.mark.parametrize(
    ("arena", "slots", "piece"), [("first-fit", 1199, 1200), ("buddy", 2047, 2048)]
)
def test_an_arena_smaller_than_one_request_is_refused(
    arena: ArenaKind, slots: int, piece: int
) -> None:
    """By the length of the piece that it hands out, which of buddies is a power of two."""
    with pytest.raises(ConfigError) as refused:
        ContiguousKVCache(slots, max_model_len=1200, arena=arena)
    assert str(refused.value) == (
        f"kv_memory: '{slots} tokens' is not allowed; expected one piece of {piece} tokens, which "
        "one request of max_model_len 1200 takes; raise --kv-memory or lower --max-model-len"
    )
    ContiguousKVCache(piece, max_model_len=1200, arena=arena)


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


def aligned(start: int, length: int, slots: int) -> list[int]:
    """Where a run of a power of two may begin in an arena cut into the largest powers of two."""
    piece = 1 << slots.bit_length() - 1
    here = list(range(start, start + piece, length)) if length <= piece else []
    return here + (aligned(start + piece, length, slots - piece) if slots > piece else [])


class BuddyMachine(RuleBasedStateMachine):
    """Any order of take and give, against a plain array of slots: since buddies merge at once, a
    run is found exactly where an aligned piece of its size is free."""

    SLOTS = 44  # 32 + 8 + 4

    def __init__(self) -> None:
        super().__init__()
        self.arena = BuddyArena(self.SLOTS)
        self.taken = [False] * self.SLOTS
        self.runs: list[Run] = []

    def places(self, size: int) -> list[int]:
        starts = aligned(0, size, self.SLOTS)
        return [start for start in starts if not any(self.taken[start : start + size])]

    @rule(length=st.integers(1, 40))
    def take(self, length: int) -> None:
        size = next(2**power for power in range(8) if 2**power >= length)
        assert self.arena.granted(length) == size
        places = self.places(size)
        for count in (1, 2, 3):
            assert self.arena.has_room(length, count) == (len(places) >= count)
        run = self.arena.take(length)
        assert (run is not None) == bool(places)
        if run:
            assert run.length == size
            assert run.start in places
            self.taken[run.start : run.end] = [True] * size
            self.runs.append(run)

    @rule(data=st.data())
    def give(self, data: st.DataObject) -> None:
        if self.runs:
            run = self.runs.pop(data.draw(st.integers(0, len(self.runs) - 1)))
            self.arena.give(run)
            self.taken[run.start : run.end] = [False] * run.length

    @invariant()
    def free_slots_are_those_not_taken(self) -> None:
        assert self.arena.free_slots == self.taken.count(False)


BuddyMachine.TestCase.settings = settings(max_examples=60, deadline=None)
TestBuddyMachine = BuddyMachine.TestCase


def test_a_run_is_split_from_the_smallest_hole_and_merges_with_its_buddy() -> None:
    arena = BuddyArena(16)
    first, second = arena.take(3), arena.take(2)
    # 16 -> 8 + 8 -> 4 + 4: the first four; then the other four is split for two.
    assert (first, second) == (Run(0, 4), Run(4, 2))
    assert arena.take(9) is None
    arena.give(Run(0, 4))
    assert not arena.has_room(16)
    arena.give(Run(4, 2))
    assert arena.take(16) == Run(0, 16)


# PagedAttention paper, section 6.1: Orca (Max) reserves the model's length, Orca (Pow2) the output
# rounded up to a power of two ("if the true output length is 25, it reserves 32"), Orca (Oracle)
# what will really be used. All of them besides the prompt.
@pytest.mark.parametrize(
    ("reservation", "arena", "held"),
    [
        ("max", "first-fit", 2048),
        ("pow2", "first-fit", 7 + 32),
        ("oracle", "first-fit", 7 + 25),
        ("max", "buddy", 2048),
        ("pow2", "buddy", 64),  # 39, as a buddy arena can give it
        ("oracle", "buddy", 32),
    ],
)
def test_what_a_prompt_of_7_and_an_output_of_25_reserve(reservation, arena, held: int) -> None:
    kv = ContiguousKVCache(4096, 2048, reservation=reservation, arena=arena)
    request = state("a", 7, 25)
    assert kv.units_of(request, 7) == held
    assert kv.extend(request, 7)
    assert kv.free_units == 4096 - held


@pytest.mark.parametrize(("output", "reserved"), [(1, 1), (2, 2), (3, 4), (16, 16), (17, 32)])
def test_pow2_rounds_the_output_up(output: int, reserved: int) -> None:
    kv = ContiguousKVCache(4096, 2048, reservation="pow2")
    assert kv.units_of(state("a", 100, output), 100) == 100 + reserved


def test_pow2_never_reserves_more_than_the_model_allows() -> None:
    # 100 + 2048 would be beyond the 2048 positions that any request may have.
    kv = ContiguousKVCache(4096, 2048, reservation="pow2")
    assert kv.units_of(state("a", 100, 1500), 100) == 2048


def test_every_sample_has_a_run_of_its_own_from_the_start() -> None:
    kv = ContiguousKVCache(64, 16, reservation="oracle")
    parent = RequestState(make_request("a", 4, 4, n=3))
    assert kv.extend(parent, 4)
    assert kv.free_units == 64 - 3 * 8
    parent.computed_tokens = 4
    children = [parent.fork(choice) for choice in (1, 2)]
    for child in children:
        kv.fork(parent, child)
    # The prompt's keys and values go into each of them.
    assert [tuple(move) for move in kv.take_moves()] == [("copy", 0, 8, 4), ("copy", 0, 16, 4)]
    for one in (parent, *children):
        kv.release(one)
    assert kv.free_units == 64


def test_samples_that_were_never_born_give_their_runs_back() -> None:
    kv = ContiguousKVCache(64, 16, reservation="oracle")
    parent = RequestState(make_request("a", 4, 4, n=3))
    assert kv.extend(parent, 4)
    kv.release(parent)
    assert kv.free_units == 64
