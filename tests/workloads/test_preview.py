"""What a preview says, counted by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from llmbench.workloads.api import Message, Plan, PlannedRequest
from llmbench.workloads.preview import preview, rates_over_time, shared_share


def request(index: int, ids: tuple[int, ...], **more: object) -> PlannedRequest:
    values: dict[str, Any] = {"t_due_s": 0.0, "output_tokens": 2, **more}
    return PlannedRequest(index, prompt_token_ids=ids, **values)


def test_sharing_counts_whole_blocks_at_the_front_of_earlier_prompts() -> None:
    """Blocks of 16. 40 tokens; the second shares 32 of its 48; the third none, though its second
    block is the first's, for what stands before differs; the fourth repeats the first, of which
    two whole blocks with a token behind them can be found."""
    first = tuple(range(40))
    second = (*range(32), *range(100, 116))
    third = (*range(200, 216), *range(16, 32), 5)
    prompts = [first, second, third, first]
    requests = tuple(request(i, ids) for i, ids in enumerate(prompts))
    assert shared_share(requests) == pytest.approx((32 + 32) / (40 + 48 + 33 + 40))


def test_a_prompt_of_one_block_is_never_found_whole() -> None:
    """Its newest token must be computed, so a cache of 16-token blocks finds nothing."""
    ids = tuple(range(16))
    assert shared_share((request(0, ids), request(1, ids))) == 0
    longer = (*ids, 7)
    assert shared_share((request(0, longer), request(1, longer))) == pytest.approx(16 / 34)
    assert shared_share((request(0, ids), request(1, longer))) == pytest.approx(16 / 33)


def test_rates_by_hand() -> None:
    """Eight requests, so two bins of 5 s: six in the first, two in the second."""
    due_s = np.array([0, 1, 1, 2, 3, 4.9, 6, 10.0])
    assert rates_over_time(due_s) == (5.0, (1.2, 0.4))
    assert rates_over_time(np.zeros(4)) == (0.0, ())


def test_sessions_and_chats_are_counted() -> None:
    said = (Message("user", "a"),)
    seen = preview(
        Plan(
            (
                request(0, (1, 2), messages=said),
                request(1, (1, 2, 3), t_due_s=None, after=0, think_s=4.0, messages=said),
                request(2, (5,), t_due_s=3.0, output_tokens=8),
                request(3, (5, 6), t_due_s=None, after=1, think_s=2.0),
            ),
            max_concurrency=None,
        )
    )
    assert (seen.requests, seen.sessions, seen.turns_max, seen.turns_mean) == (4, 2, 3, 2.0)
    assert (seen.think_s_mean, seen.chats) == (3.0, 2)
    assert (seen.due_from_s, seen.due_to_s) == (0.0, 3.0)
    assert (seen.input.total, seen.input.max, seen.output.mean) == (8, 3, 3.5)


def test_sharing_is_that_of_a_set_of_beginnings() -> None:
    """Held against a set of the beginnings themselves, of prompts that share at random."""
    rng = np.random.default_rng(4)
    prompts = [
        tuple(rng.integers(0, 2, 20).repeat(16)[: rng.integers(1, 300)].tolist())
        for _ in range(400)
    ]
    seen: set[tuple[int, ...]] = set()
    hits = 0
    for ids in prompts:
        ends = range(16, len(ids) + 1, 16)
        hits += sum(16 for end in ends if end < len(ids) and ids[:end] in seen)
        seen.update(ids[:end] for end in ends)
    requests = tuple(request(i, ids) for i, ids in enumerate(prompts))
    told: list[int] = []
    share = shared_share(requests, lambda _what, done, _of: told.append(done))
    assert hits > 1000
    assert share == hits / sum(map(len, prompts))
    assert told[-1] == 400
