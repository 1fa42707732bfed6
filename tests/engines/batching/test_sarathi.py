"""Sarathi-Serve's order, as schedules a reader can follow. Blocks hold 4 tokens."""

from __future__ import annotations

from typing import Any

from ..drive import drive, make_core, make_request


def test_decodes_then_prompts_under_way_then_new_ones() -> None:
    core = make_core("sarathi", max_num_batched_tokens=8)
    run = drive(
        core,
        [make_request("a", 4, 4), make_request("b", 16, 1)],
        arrivals={1: [make_request("c", 4, 1)]},
    )
    assert run.table() == [
        "P a0+4 b0+4",
        "P b4+7 | D a",  # 8 - 1 for b, nothing for c
        "P b11+5 c0+2 | D a",  # the last five of b, two are left for c
        "P c2+2 | D a",
    ]


def test_a_decode_never_waits_for_a_prompt_before_it() -> None:
    core = make_core("sarathi", max_num_batched_tokens=4, max_num_seqs=4)
    run = drive(
        core,
        [make_request("low", 2, 4, priority=1)],
        arrivals={1: [make_request("high", 10, 1)]},
    )
    # `high` stands in front, and still only gets what the decode leaves.
    assert run.table() == [
        "P low0+2",
        "P high0+3 | D low",
        "P high3+3 | D low",
        "P high6+3 | D low",
        "P high9+1",
    ]


def test_the_chunk_bounds_a_step() -> None:
    core = make_core("sarathi", max_num_batched_tokens=6)
    run = drive(core, [make_request("a", 8, 1), make_request("b", 8, 1)])
    assert run.table() == ["P a0+6", "P a6+2 b0+4", "P b4+4"]


def test_the_first_chunk_takes_the_room_of_the_whole_prompt() -> None:
    core = make_core("sarathi", max_num_batched_tokens=4)
    run = drive(core, [make_request("a", 10, 1)])
    assert [step.kv.held_tokens for step in run.steps] == [12, 12, 12]


def test_a_decode_asks_for_a_free_block_and_new_prompts_start_even_after_a_preemption() -> None:
    # Four blocks, all held; both have room in their last block.
    core = make_core("sarathi", pool_tokens=16, max_model_len=16)
    run = drive(core, [make_request("a", 6, 2), make_request("b", 6, 2)])
    # a asks for a free block, so b must go; a takes none, and b's two are enough for its seven
    # tokens: it starts again at once.
    assert run.table() == ["P a0+6 b0+6", "P b0+7 | D a | preempt b"]


def test_what_was_reserved_is_not_asked_for() -> None:
    core = make_core("sarathi", "reserve", pool_tokens=16, max_model_len=16)
    run = drive(core, [make_request("a", 6, 2), make_request("b", 6, 2)])
    assert run.table() == ["P a0+6 b0+6", "D a b"]


SWAP: dict[str, Any] = {
    "pool_tokens": 20,
    "max_model_len": 20,
    "admission_options": {"preemption": "swap"},
    "kv_options": {"host_blocks": 8},
}


def test_nobody_new_starts_while_somebody_is_swapped_out() -> None:
    core = make_core("sarathi", **SWAP)
    requests = [make_request("a", 8, 4), make_request("b", 8, 3)]
    assert drive(core, requests, arrivals={2: [make_request("c", 2, 1)]}).table() == [
        "P a0+8 b0+8",  # two blocks each, one is free
        "D a | out b",  # a takes it; b finds none
        "D a",  # two free blocks would do for c; b needs its two and one to write on, and is first
        "D a",
        "P c0+2 | D b | in b",
        "D b",
    ]


def test_a_context_that_is_not_done_is_recomputed_although_the_host_has_room() -> None:
    core = make_core("sarathi", max_num_batched_tokens=8, **SWAP)
    run = drive(core, [make_request("a", 7, 3)], arrivals={1: [make_request("b", 12, 1)]})
    assert run.table() == [
        "P a0+7",
        "P b0+7 | D a",  # two blocks of a and three of b: all
        "D a | preempt b",  # a asks for a third
        "P b0+8",
        "P b8+4",
    ]
