"""Sarathi-Serve's order, as schedules a reader can follow. Blocks hold 4 tokens."""

from __future__ import annotations

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
