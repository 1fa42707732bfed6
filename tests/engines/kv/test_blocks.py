"""The block pool: who goes first, and what is still found."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from llmbench.engines.kv.blocks import BlockPool


def test_the_least_recently_freed_block_goes_first() -> None:
    pool = BlockPool(4)
    assert [pool.take() for _ in range(4)] == [0, 1, 2, 3]
    pool.drop([2])
    pool.drop([0, 3])
    pool.drop([1])
    assert [pool.take() for _ in range(4)] == [2, 0, 3, 1]


def test_a_sequence_is_evicted_from_its_tail() -> None:
    pool = BlockPool(3)
    table = [pool.take() for _ in range(3)]
    for index, block in enumerate(table):
        pool.name(block, bytes([index]))
    pool.drop(reversed(table))  # as the cache releases a sequence
    # The first to go is the end of the prefix, which alone is of no use to anybody.
    assert pool.take() == 2
    assert (pool.find(b"\0"), pool.find(b"\1"), pool.find(b"\2")) == (0, 1, None)


def test_a_hit_takes_a_free_block_out_of_the_line() -> None:
    pool = BlockPool(2)
    first, second = pool.take(), pool.take()
    pool.name(first, b"x")
    pool.drop([first])
    pool.drop([second])
    assert (pool.free_blocks, pool.cached_blocks) == (2, 1)
    pool.hold(first)
    assert (pool.free_blocks, pool.cached_blocks) == (1, 0)
    # Freed again, it is the most recent.
    pool.drop([first])
    assert [pool.take(), pool.take()] == [second, first]


def test_of_two_blocks_with_one_content_the_first_stays_findable() -> None:
    pool = BlockPool(2)
    first, second = pool.take(), pool.take()
    pool.name(first, b"x")
    pool.name(second, b"x")
    assert pool.find(b"x") == first
    pool.forget(second)
    assert pool.find(b"x") == first


def test_a_content_is_found_as_long_as_any_block_keeps_it() -> None:
    pool = BlockPool(2)
    first, second = pool.take(), pool.take()
    pool.name(first, b"x")
    pool.name(second, b"x")
    pool.drop([first])
    assert (pool.find(b"x"), pool.cached_blocks) == (first, 1)
    assert pool.take() == first
    assert (pool.find(b"x"), pool.cached_blocks) == (second, 0)
    pool.forget(second)
    assert pool.find(b"x") is None


def test_none_is_handed_out_of_an_empty_pool() -> None:
    with pytest.raises(KeyError):
        BlockPool(0).take()


class PoolMachine(RuleBasedStateMachine):
    """Any order of calls, against a list of free blocks, oldest first."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = BlockPool(6)
        self.free = list(range(6))
        self.refs = [0] * 6
        self.content: dict[int, bytes] = {}

    @precondition(lambda self: self.free)
    @rule()
    def take(self) -> None:
        block = self.free.pop(0)
        assert self.pool.take() == block
        self.refs[block] = 1
        self.content.pop(block, None)

    @rule(block=st.integers(0, 5))
    def hold(self, block: int) -> None:
        if not self.refs[block] and block not in self.content:
            return  # nobody asks for a free block of no known content
        self.pool.hold(block)
        self.refs[block] += 1
        if block in self.free:
            self.free.remove(block)

    @rule(blocks=st.lists(st.integers(0, 5), max_size=4, unique=True))
    def drop(self, blocks: list[int]) -> None:
        held = [block for block in blocks if self.refs[block]]
        self.pool.drop(held)
        for block in held:
            self.refs[block] -= 1
            if not self.refs[block]:
                self.free.append(block)

    @rule(block=st.integers(0, 5), content=st.sampled_from([b"x", b"y", b"z"]))
    def name(self, block: int, content: bytes) -> None:
        if self.refs[block]:
            self.pool.name(block, content)
            self.content.setdefault(block, content)

    @rule(block=st.integers(0, 5))
    def forget(self, block: int) -> None:
        if self.refs[block]:
            self.pool.forget(block)
            self.content.pop(block, None)

    @invariant()
    def counts_and_contents_agree(self) -> None:
        assert self.pool.refs == self.refs
        assert self.pool.free_blocks == len(self.free)
        assert self.pool.cached_blocks == sum(block in self.content for block in self.free)
        assert self.pool.extra_refs == sum(count - 1 for count in self.refs if count)
        for content in (b"x", b"y", b"z"):
            found = [block for block, kept in self.content.items() if kept == content]
            assert self.pool.find(content) == (found[0] if found else None)


PoolMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestPoolMachine = PoolMachine.TestCase
