"""Any order of what may happen to a paged cache, against a model that knows every slot's content.

Prompts are made of two tokens only, so that prefixes meet. What a slot holds is written down as all
tokens up to its own, which is what keys and values depend on.
"""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from llmbench.engines.api import Request, SamplingParams
from llmbench.engines.kv.paged import PagedKVCache
from llmbench.engines.state import RequestState
from llmbench.engines.step import Chunk, StepPlan

from ..drive import CountingExecutor

SIZE, BLOCKS = 4, 9

pick = st.integers(0, 99)


class PagedContents(RuleBasedStateMachine):
    @initialize(prefix_cache=st.booleans(), host_blocks=st.sampled_from([0, 3, 12]))
    def make(self, prefix_cache: bool, host_blocks: int) -> None:
        self.kv = PagedKVCache(BLOCKS, SIZE, prefix_cache=prefix_cache, host_blocks=host_blocks)
        self.memory = CountingExecutor()
        self.here: list[RequestState] = []
        self.away: list[list[RequestState]] = []
        self.came = 0
        # What each block is known to keep: the tokens up to its end.
        self.named: dict[int, tuple[int, ...]] = {}
        take = self.kv.pool.take

        def take_and_forget() -> int:
            block = take()
            self.named.pop(block, None)
            return block

        self.kv.pool.take = take_and_forget

    def move(self) -> None:
        for move in self.kv.take_moves():
            self.memory._move(move, SIZE)

    def longest_hit(self, tokens: list[int]) -> int:
        kept = set(self.named.values())
        hit = 0
        while hit + SIZE <= len(tokens) - 1 and tuple(tokens[: hit + SIZE]) in kept:
            hit += SIZE
        return hit

    @rule(prompt=st.lists(st.integers(0, 1), min_size=1, max_size=14), n=st.integers(1, 3))
    def start(self, prompt: list[int], n: int) -> None:
        self.came += 1
        sampling = SamplingParams(max_tokens=20, n=n)
        request = RequestState(Request(f"r{self.came}", tuple(prompt), sampling))
        hit = self.longest_hit(prompt)
        assert self.kv.cached_tokens(request) == hit
        # Whole blocks, less those of the hit that somebody holds already.
        held = {block for one in self.here for block in self.kv.block_table(one)}
        # Of several with one content that which was named first.
        kept = {tokens: block for block, tokens in reversed(self.named.items())}
        hits = [kept[tuple(prompt[:end])] for end in range(SIZE, hit + 1, SIZE)]
        needed = -(-len(prompt) // SIZE) - sum(block in held for block in hits)
        assert self.kv.needs(request, len(prompt)) == needed
        fits = needed <= self.kv.free_units
        assert self.kv.fits(request, len(prompt)) == fits
        assert self.kv.extend(request, len(prompt)) == fits
        if fits:
            request.computed_tokens = hit
            assert list(self.kv.block_table(request)[: hit // SIZE]) == hits
            self.here.append(request)

    @precondition(lambda self: self.here)
    @rule(which=pick, most=st.integers(1, 9))
    def compute(self, which: int, most: int) -> None:
        """A chunk of a context, or the next token of who has none left to compute."""
        request = self.here[which % len(self.here)]
        if request.computed_tokens == request.known_tokens:
            if request.samples > 1:
                return  # its samples are told apart first
            request.append((request.choice + which) % 2)
        table, free = self.kv.block_table(request), self.kv.free_units
        if not self.kv.extend(request, request.known_tokens):
            assert (self.kv.block_table(request), self.kv.free_units) == (table, free)
            return
        start = request.computed_tokens
        chunk = Chunk(request, start, min(most, request.known_tokens - start))
        self.memory.execute(StepPlan(prefills=(chunk,)), self.kv, self.kv.take_moves())
        request.computed_tokens = chunk.end
        self.kv.publish(request, chunk.end)
        if self.kv.names_blocks:
            self.name(request, start // SIZE, chunk.end // SIZE)

    def name(self, request: RequestState, first: int, end: int) -> None:
        table = self.kv.block_table(request)
        for index in range(first, end):
            content = tuple(request.token_ids[: (index + 1) * SIZE])
            self.named.setdefault(table[index], content)

    @rule(which=pick)
    def fork(self, which: int) -> None:
        ready = [one for one in self.here if one.samples > 1 and one.is_decoding]
        if not ready:
            return
        parent = ready[which % len(ready)]
        children = [parent.fork(choice) for choice in range(1, parent.samples)]
        parent.samples = 1
        for child in children:
            self.kv.fork(parent, child)
        self.here.extend(children)
        for sample in (parent, *children):
            sample.append((sample.choice + which) % 2)

    @precondition(lambda self: self.here)
    @rule(which=pick, together=st.booleans())
    def swap_out(self, which: int, together: bool) -> None:
        request = self.here[which % len(self.here)]
        group = [one for one in self.here if one is request or together]
        group = [one for one in group if one.request is request.request]
        units = {block for one in group for block in self.kv.block_table(one)}
        fits = len(units) <= self.kv.host.free_blocks
        assert self.kv.swap_out(group) == fits
        if fits:
            self.here = [one for one in self.here if one not in group]
            self.away.append(group)
        self.move()

    @precondition(lambda self: self.away)
    @rule(which=pick)
    def swap_in(self, which: int) -> None:
        group = self.away[which % len(self.away)]
        if self.kv.swap_in_units(group) <= self.kv.free_units:
            self.kv.swap_in(group)
            self.away.remove(group)
            self.here.extend(group)
        self.move()

    @precondition(lambda self: self.here or self.away)
    @rule(which=pick)
    def release(self, which: int) -> None:
        everybody = [*self.here, *(one for group in self.away for one in group)]
        request = everybody[which % len(everybody)]
        self.kv.release(request)
        self.here = [one for one in self.here if one is not request]
        rest = [[one for one in group if one is not request] for group in self.away]
        self.away = [group for group in rest if group]

    @invariant()
    def everybody_reads_its_own_tokens(self) -> None:
        if not hasattr(self, "kv"):
            return
        self.move()
        for request in self.here:
            table, tokens = self.kv.block_table(request), request.token_ids
            for position in range(request.computed_tokens):
                slot = table[position // SIZE] * SIZE + position % SIZE
                assert self.memory.slots[slot] == tuple(tokens[: position + 1])

    @invariant()
    def no_block_is_lost_and_every_holder_is_counted(self) -> None:
        if not hasattr(self, "kv"):
            return
        held = Counter(block for one in self.here for block in self.kv.block_table(one))
        assert [held[block] for block in range(BLOCKS)] == self.kv.pool.refs
        assert len(held) + self.kv.free_units == BLOCKS
        assert self.kv.pool.cached_blocks == len(self.named.keys() - held.keys())
        away = {block for table in self.kv._host_tables.values() for block in table}
        assert len(away) + self.kv.host.free_blocks == self.kv.host.num_blocks

    @invariant()
    def usage_counts_shared_room_once(self) -> None:
        if not hasattr(self, "kv"):
            return
        usage = self.kv.usage(self.here, None)
        tables = [self.kv.block_table(one) for one in self.here]
        assert usage.held_tokens == SIZE * len({block for table in tables for block in table})
        # Written slots, each once, however many read it.
        written = {
            table[position // SIZE] * SIZE + position % SIZE
            for one, table in zip(self.here, tables, strict=True)
            for position in range(one.computed_tokens)
        }
        assert usage.used_tokens == len(written)


PagedContents.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestPagedContents = PagedContents.TestCase


def test_two_blocks_that_came_to_keep_one_content_both_keep_it() -> None:
    cache = PagedContents()
    cache.make(prefix_cache=True, host_blocks=0)
    cache.start(n=1, prompt=[1, 0, 0, 1])
    cache.compute(most=4, which=0)
    cache.start(n=2, prompt=[1, 0, 0])
    cache.compute(most=3, which=1)
    cache.fork(which=1)  # one of them goes on with 1
    cache.release(which=0)
    cache.compute(most=1, which=0)
    cache.release(which=0)
    cache.no_block_is_lost_and_every_holder_is_counted()
    assert list(cache.named.values()).count((1, 0, 0, 1)) == 2


@pytest.mark.parametrize("prompt", [6, 8])
def test_a_sample_copies_the_shared_last_block_before_it_writes(prompt: int) -> None:
    kv, memory = PagedKVCache(8, SIZE), CountingExecutor()
    request = Request("a", tuple(range(prompt)), SamplingParams(max_tokens=8, n=2))
    parent = RequestState(request)
    assert kv.extend(parent, prompt)
    memory.execute(StepPlan(prefills=(Chunk(parent, 0, prompt),)), kv, kv.take_moves())
    parent.computed_tokens = prompt
    child = parent.fork(1)
    parent.samples = 1
    kv.fork(parent, child)
    assert kv.block_table(child) == kv.block_table(parent) == (0, 1)
    for sample in (parent, child):
        sample.append(90 + sample.choice)
        assert kv.extend(sample, prompt + 1)
    if prompt == 6:  # two tokens in the shared block: the first writer copies, the last need not
        assert [tuple(move) for move in kv.take_moves()] == [("copy", 1, 2, 1)]
        assert (kv.block_table(parent), kv.block_table(child)) == ((0, 2), (0, 1))
    else:  # it is full: each takes a block of its own
        assert kv.take_moves() == []
        assert (kv.block_table(parent), kv.block_table(child)) == ((0, 1, 2), (0, 1, 3))


def test_what_samples_shared_before_they_were_swapped_out_they_share_when_they_are_back() -> None:
    kv, memory = PagedKVCache(4, SIZE, host_blocks=4), CountingExecutor()
    parent = RequestState(Request("a", (1, 2), SamplingParams(max_tokens=8, n=2)))
    assert kv.extend(parent, 2)
    memory.execute(StepPlan(prefills=(Chunk(parent, 0, 2),)), kv, kv.take_moves())
    parent.computed_tokens = 2
    group = [parent, parent.fork(1)]
    parent.samples = 1
    kv.fork(*group)
    assert kv.swap_out(group)
    assert (kv.host.free_blocks, kv.free_units, kv.swap_in_units(group)) == (3, 4, 1)
    kv.swap_in(group)
    assert (kv.host.free_blocks, kv.free_units) == (4, 3)
    for sample in group:
        sample.append(5 + sample.choice)
    assert kv.grow(group) == 2
    plan = StepPlan(decodes=tuple(Chunk(sample, 2, 1) for sample in group))
    moves = kv.take_moves()
    # Out of the first block, back into the next in line, and copied for the first that writes.
    assert [tuple(move) for move in moves] == [("out", 0, 0, 1), ("in", 0, 1, 1), ("copy", 1, 2, 1)]
    memory.execute(plan, kv, moves)  # checks that each reads its own tokens
