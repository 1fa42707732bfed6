"""Request-level batching: nobody joins until everybody has left."""

from __future__ import annotations

from ..drive import drive, make_core, make_request


def test_a_batch_ends_when_its_longest_member_ends() -> None:
    core = make_core("static", "reserve", "contiguous", max_num_seqs=2, pool_tokens=64)
    run = drive(core, [make_request("a", 4, 1), make_request("b", 4, 3), make_request("c", 4, 1)])
    assert run.table() == ["P a0+4 b0+4", "D b", "D b", "P c0+4"]


def test_late_comers_wait_for_the_whole_batch() -> None:
    core = make_core("static", "reserve", "contiguous")
    run = drive(core, [make_request("a", 4, 4)], arrivals={1: [make_request("b", 4, 1)]})
    assert run.table() == ["P a0+4", "D a", "D a", "D a", "P b0+4"]


def test_the_token_budget_cuts_prompts_into_steps_and_bounds_no_batch() -> None:
    core = make_core("static", "reserve", max_num_batched_tokens=6, pool_tokens=128)
    run = drive(core, [make_request(name, 8, 2) for name in "abc"])
    assert run.table() == ["P a0+6", "P a6+2 b0+4", "P b4+4 c0+2", "P c2+6", "D a b c"]


def test_a_batch_is_formed_in_order_of_priority() -> None:
    core = make_core("static", "reserve", "contiguous", max_num_seqs=1)
    run = drive(core, [make_request("a", 4, 1, priority=1), make_request("b", 4, 2)])
    assert run.table() == ["P b0+4", "D b", "P a0+4"]


def test_memory_bounds_a_batch() -> None:
    # 64 slots are two reservations of 32.
    core = make_core("static", "reserve", "contiguous", pool_tokens=64)
    run = drive(core, [make_request(name, 4, 1) for name in "abc"])
    assert run.table() == ["P a0+4 b0+4", "P c0+4"]


def test_who_made_room_joins_the_next_batch() -> None:
    core = make_core("static", pool_tokens=20, max_model_len=20)
    run = drive(core, [make_request("a", 8, 2), make_request("b", 8, 2), make_request("c", 4, 1)])
    assert run.table() == [
        "P a0+8 b0+8 c0+4",  # two blocks, two, and one
        "D a | preempt b",  # c has left its block to a; b finds none
        "P b0+9",
    ]
