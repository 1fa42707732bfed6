from __future__ import annotations

import pytest
from llmbench.engines.errors import ConfigError
from llmbench.engines.kv.paged import PagedKVCache
from llmbench.engines.state import RequestState
from llmbench.engines.step import Chunk, StepPlan

from ..drive import make_request


def state(name: str, prompt: int, output: int = 4) -> RequestState:
    return RequestState(make_request(name, prompt, output))


def test_blocks_are_taken_only_when_the_last_one_is_full() -> None:
    kv = PagedKVCache(num_blocks=4, block_size=4)
    request = state("a", 4)
    assert kv.extend(request, 4)
    assert kv.block_table(request) == (0,)
    assert kv.extend(request, 5)
    assert kv.block_table(request) == (0, 1)
    assert kv.extend(request, 8)
    assert kv.free_units == 2


def test_a_failed_extension_changes_nothing() -> None:
    kv = PagedKVCache(num_blocks=2, block_size=4)
    request = state("a", 4)
    assert kv.extend(request, 4)
    assert not kv.extend(request, 13)
    assert kv.block_table(request) == (0,)
    assert kv.free_units == 1


def test_a_cached_block_that_nobody_holds_is_taken_from_the_free_ones() -> None:
    """Three blocks are free, two of them found: the two that are missing are one too many."""
    kv = PagedKVCache(num_blocks=3, block_size=4, prefix_cache=True)
    first = RequestState(make_request("a", 9, 4, shared=8))
    assert kv.extend(first, 9)
    kv.publish(first, 9)
    kv.release(first)
    second = RequestState(make_request("b", 16, 4, shared=8))
    assert (kv.cached_tokens(second), kv.free_units) == (8, 3)
    assert not kv.extend(second, 16)
    assert (kv.cached_tokens(second), kv.free_units) == (8, 3)
    assert kv.extend(second, 12)
    assert kv.free_units == 0


def test_layout_maps_positions_through_the_block_table() -> None:
    kv = PagedKVCache(num_blocks=8, block_size=4)
    first, second = state("a", 6), state("b", 3)
    kv.extend(first, 4)
    kv.extend(second, 3)
    kv.extend(first, 6)  # blocks 0 and 2
    plan = StepPlan(prefills=(Chunk(first, 2, 4), Chunk(second, 0, 3)))
    layout = kv.layout(plan)
    assert layout.slot_mapping == [2, 3, 8, 9, 4, 5, 6]
    assert layout.block_tables == [[0, 2], [1]]


def test_usage_says_what_is_used_and_what_is_held() -> None:
    kv = PagedKVCache(num_blocks=8, block_size=4)
    request = state("a", 6)
    kv.extend(request, 6)
    request.computed_tokens = 6
    usage = kv.usage([request], None)
    assert (usage.capacity_tokens, usage.used_tokens, usage.held_tokens) == (32, 6, 8)


@pytest.mark.parametrize(("blocks", "size", "field"), [(0, 4, "num_blocks"), (4, 0, "block_size")])
def test_sizes_must_be_positive(blocks: int, size: int, field: str) -> None:
    with pytest.raises(ConfigError, match=field):
        PagedKVCache(blocks, size)
