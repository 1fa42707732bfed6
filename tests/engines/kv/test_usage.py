"""KV accounting against numbers worked by hand from the definitions in SCHEDULING.md."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from llmbench.engines.kv.usage import KVSplit, split, waste_share
from llmbench.engines.trace import Holding, Holdings, KVUsage


def test_a_reservation_longer_than_the_request() -> None:
    # 100 slots held, 30 written, 50 in the end: 20 still to come, 50 never used.
    usage = KVUsage(
        200,
        Holdings.of((Holding("a", 30, 100),)),
        external_tokens=40,
        shared_tokens=7,
        shared_room_tokens=7,
    )

    assert split(usage, {"a": 50}) == KVSplit(23, 20, 50, 40, 7)


def test_a_block_table_that_will_grow_past_what_it_holds() -> None:
    # Two blocks of 16 held, 20 written, 90 in the end: all 12 free slots will be written.
    assert split(KVUsage(160, Holdings.of((Holding("a", 20, 32),))), {"a": 90}) == KVSplit(
        20, 12, 0, 0, 0
    )


def test_requests_add_up() -> None:
    usage = KVUsage(
        160, Holdings.of((Holding("a", 20, 32), Holding("b", 16, 16), Holding("c", 1, 16)))
    )

    assert split(usage, {"a": 21, "b": 16, "c": 5}) == KVSplit(37, 1 + 0 + 4, 11 + 0 + 11, 0, 0)


def test_nothing_held() -> None:
    assert split(KVUsage(160, Holdings.of(())), {}) == KVSplit(0, 0, 0, 0, 0)


def test_a_final_length_below_what_is_used_is_a_contradiction() -> None:
    with pytest.raises(ValueError, match="a: 30 tokens used"):
        split(KVUsage(100, Holdings.of((Holding("a", 30, 64),))), {"a": 29})


def test_an_unknown_final_length_is_not_guessed() -> None:
    with pytest.raises(KeyError, match="a"):
        split(KVUsage(100, Holdings.of((Holding("a", 30, 64),))), {})


def test_waste_is_weighted_by_time() -> None:
    full = KVSplit(100, 0, 0, 0, 0)  # no waste for 1 s
    empty = KVSplit(20, 30, 40, 10, 0)  # 80 of 100 wasted for 3 s

    # useful 100 x 1 + 20 x 3 = 160; taken 100 x 1 + 100 x 3 = 400
    assert waste_share([(full, 1.0), (empty, 3.0)]) == pytest.approx(1 - 160 / 400)


def test_what_is_shared_counts_once() -> None:
    # Two samples of 20 tokens share a full block of 16: 24 tokens are written, in 48 slots.
    rows = Holdings.of((Holding("a", 20, 32), Holding("a#1", 20, 32)))
    usage = KVUsage(160, rows, shared_tokens=16, shared_room_tokens=16)

    assert (usage.used_tokens, usage.held_tokens) == (24, 48)
    assert split(usage, {"a": 20, "a#1": 20}) == KVSplit(24, 0, 24, 0, 16)


def test_shared_room_is_no_waste() -> None:
    assert waste_share([(KVSplit(10, 0, 0, 0, 90), 1.0)]) == 0.0


def test_waste_of_an_unused_cache_is_undefined() -> None:
    assert waste_share([(KVSplit(0, 0, 0, 0, 0), 5.0)]) is None


@st.composite
def _holdings(draw: st.DrawFn) -> list[tuple[Holding, int]]:
    held_final = draw(st.lists(st.tuples(st.integers(0, 500), st.integers(0, 500)), max_size=6))
    return [
        (Holding(str(i), draw(st.integers(0, min(held, final))), held), final)
        for i, (held, final) in enumerate(held_final)
    ]


@given(_holdings())
def test_every_held_token_is_in_exactly_one_state(holdings: list[tuple[Holding, int]]) -> None:
    usage = KVUsage(10_000, Holdings.of(holding for holding, _ in holdings))
    parts = split(usage, {holding.request_id: final for holding, final in holdings})

    assert parts.useful_tokens + parts.reserved_tokens + parts.internal_tokens == usage.held_tokens
    assert min(parts.useful_tokens, parts.reserved_tokens, parts.internal_tokens) >= 0
