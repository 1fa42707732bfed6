"""How chunks share tokens that no count gives to one of them alone."""

from __future__ import annotations

import random

import pytest
from llmbench.harness.client.shares import UNCOUNTED, spread

U = UNCOUNTED


@pytest.mark.parametrize(
    ("counted", "rest", "held", "unknown"),
    [
        ([1, 1, 1], 0, [1, 1, 1], ""),
        ([U, U, U], 3, [1, 1, 1], ""),
        ([U, U], 5, [2, 3], "total"),
        ([U, U, U, U], 2, [1, 0, 0, 1], "split"),
        # The whole reply's count beside its first text, then again beside all text, or no more.
        ([4, 0, 0, 0], 0, [1, 1, 1, 1], ""),
        ([4, U, U, U], 0, [1, 1, 1, 1], ""),
        ([8, 0, 0, 0], 0, [2, 2, 2, 2], "total"),
        ([4, 0, 4, 0], 0, [2, 2, 2, 2], "total"),
        # A token in two chunks came with the first.
        ([1, 1, 0, 1], 0, [1, 1, 0, 1], ""),
        ([3, 0, 1], 0, [1, 2, 1], "total"),
        ([2, 0, 0], 0, [1, 0, 1], "split"),
    ],
)
def test_chunks_share_what_no_count_gives_to_one(
    counted: list[int], rest: int, held: list[int], unknown: str
) -> None:
    assert spread(counted, rest) == (held, unknown)


@pytest.mark.parametrize("seed", [random.randrange(2**32)], ids=["fresh"])
def test_no_token_is_lost_and_none_is_made(seed: int) -> None:
    draw = random.Random(seed)
    for _ in range(200):
        counted = [draw.choice((U, 0, 1, 1, 5)) for _ in range(draw.randint(1, 20))]
        rest = draw.randint(0, 30) if U in counted else 0
        held, _ = spread(counted, rest)
        assert sum(held) == sum(one for one in counted if one != U) + rest
        assert min(held) >= 0
