"""Who goes to the host, and comes back before whom, in the policies beside `separate`."""

from __future__ import annotations

from typing import Any

import pytest

from ..drive import drive, make_core, make_request

SWAP: dict[str, Any] = {
    "admission_options": {"preemption": "swap"},
    "kv_options": {"host_blocks": 8},
}
FIVE_BLOCKS: dict[str, Any] = {"pool_tokens": 20, "max_model_len": 20, **SWAP}


@pytest.mark.parametrize(
    ("policy", "at_last"),
    [
        ("unified", ["P c0+2 | D b | in b", "D b"]),
        ("sarathi", ["P c0+2 | D b | in b", "D b"]),
        ("inflight", ["D b | in b", "P c0+2 | D b"]),
        # Nobody runs, but b belongs to the batch: c waits for it.
        ("static", ["D b | in b", "D b", "P c0+2"]),
    ],
)
def test_nobody_new_starts_while_somebody_is_swapped_out(policy: str, at_last: list[str]) -> None:
    core = make_core(policy, **FIVE_BLOCKS)
    requests = [make_request("a", 8, 4), make_request("b", 8, 3)]
    assert drive(core, requests, arrivals={2: [make_request("c", 2, 1)]}).table() == [
        "P a0+8 b0+8",  # two blocks each, one is free
        "D a | out b",  # a takes it; b finds none
        "D a",  # two free blocks would do for c; b needs its two and one to write on, and is first
        "D a",
        *at_last,
    ]


@pytest.mark.parametrize(
    ("policy", "prompt"),
    [
        # All blocks are taken by two of a and the three of b's whole prompt, then a asks for one,
        ("sarathi", 7),
        ("inflight", 7),
        # or by three of a and two of what is computed of b, and b asks.
        ("unified", 8),
    ],
)
def test_a_context_that_is_not_done_is_recomputed_although_the_host_has_room(
    policy: str, prompt: int
) -> None:
    core = make_core(policy, max_num_batched_tokens=8, **FIVE_BLOCKS)
    requests = [make_request("a", prompt, 3)]
    assert drive(core, requests, arrivals={1: [make_request("b", 12, 1)]}).table() == [
        f"P a0+{prompt}",
        "P b0+7 | D a",
        "D a | preempt b",
        "P b0+8",
        "P b8+4",
    ]


def test_who_is_swapped_out_comes_back_when_a_seat_is_free() -> None:
    core = make_core("inflight", max_num_seqs=2, **SWAP)
    run = drive(
        core,
        [make_request("a", 8, 2, priority=1), make_request("b", 8, 2, priority=1)],
        arrivals={1: [make_request("h", 8, 1), make_request("i", 8, 3)]},
    )
    assert run.table() == [
        "P a0+8 b0+8",
        "P h0+8 i0+8 | out b a",  # h takes b's seat, i takes a's
        "D i a | in a",  # h has left; blocks are free for both, a seat for one
        "D i b | in b",
    ]


def test_who_comes_back_from_the_host_takes_a_token_of_the_budget() -> None:
    core = make_core("unified", max_num_batched_tokens=8, **FIVE_BLOCKS)
    requests = [make_request("a", 8, 5), make_request("b", 8, 3)]
    assert drive(core, requests, arrivals={3: [make_request("c", 8, 1)]}).table() == [
        "P a0+8",
        "P b0+7 | D a",  # three blocks of a and two of b: all
        "P b7+1 | D a",
        "D a | out b",  # b asks for a third
        "D a",
        "P c0+7 | D b | in b",  # eight tokens
        "P c7+1 | D b",
    ]


def test_who_is_swapped_out_waits_for_a_token_of_the_budget() -> None:
    core = make_core(
        "unified",
        max_num_batched_tokens=8,
        long_prefill_tokens=4,
        pool_tokens=32,
        max_model_len=32,
        **SWAP,
    )
    arrivals = {
        2: [make_request("b", 2, 3, priority=1)],
        3: [make_request("c", 16, 1), make_request("d", 16, 1)],
    }
    assert drive(core, [make_request("a", 12, 3)], arrivals=arrivals).table() == [
        "P a0+4",
        "P a4+4",
        "P a8+4 b0+2",
        "P c0+4 d0+2 | D a b",  # four blocks of a and one of each other, one is free
        "P c4+4 d2+3 | D a | out b",  # c takes it, d that of b, who matters least
        "P c8+4 d5+4",  # a has left four: two are enough for b, but there are eight tokens already
        "P c12+4 d9+4",
        "P d13+3 | D b | in b",
    ]
