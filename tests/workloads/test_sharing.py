"""What prompts begin with together, held against tokens compared one by one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, takewhile

import pytest
from hypothesis import given
from hypothesis import strategies as st
from llmbench.workloads.sharing import shared_blocks

PROMPTS = st.lists(st.lists(st.integers(0, 1), max_size=9), max_size=6)


def names(prompts: list[list[int]], size: int) -> list[list[int]]:
    return [one.tolist() for one in shared_blocks(prompts, size)]


def common(one: Sequence[int], other: Sequence[int]) -> int:
    return sum(1 for _ in takewhile(bool, (a == b for a, b in zip(one, other, strict=False))))


def test_by_hand() -> None:
    """Blocks of two. The second is [3, 4] in two prompts, but after another first one in the last;
    of the third prompt nobody has more."""
    prompts = [[1, 2, 3, 4, 5], [1, 2, 3, 4, 9, 9], [1, 2], [7, 7, 3, 4]]
    assert names(prompts, 2) == [[0, 1], [0, 1], [0], []]


@given(PROMPTS, st.integers(1, 3))
def test_as_many_names_are_common_as_whole_blocks(prompts: list[list[int]], size: int) -> None:
    found = names(prompts, size)
    for one, other in combinations(range(len(prompts)), 2):
        tokens = common(prompts[one], prompts[other])
        assert common(found[one], found[other]) == tokens // size
    seen = [name for one in found for name in one]
    assert list(dict.fromkeys(seen)) == list(range(len(set(seen))))


@pytest.mark.parametrize("prompts", [[], [[]], [[1, 2, 3]]])
def test_of_few_prompts_nothing_is_shared(prompts: list[list[int]]) -> None:
    assert names(prompts, 2) == [[] for _ in prompts]
