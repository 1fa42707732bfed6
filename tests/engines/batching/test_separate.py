"""The documented behaviour of vLLM's original scheduler, as schedules a reader can follow."""

from __future__ import annotations

from ..drive import drive, make_core, make_request


def test_prompts_go_first_and_share_no_step_with_decodes() -> None:
    core = make_core("separate")
    run = drive(
        core,
        [make_request("a", 8, 3)],
        arrivals={2: [make_request("b", 4, 2)]},
    )
    assert run.table() == ["P a0+8", "D a", "P b0+4", "D a b"]


def test_prompts_batch_until_the_token_budget() -> None:
    core = make_core("separate", max_num_batched_tokens=16)
    run = drive(core, [make_request(name, 8, 1) for name in "abc"])
    assert run.table() == ["P a0+8 b0+8", "P c0+8"]


def test_running_requests_count_for_sequences_but_not_for_tokens() -> None:
    core = make_core("separate", max_num_seqs=2, max_num_batched_tokens=8)
    run = drive(core, [make_request(name, 8, 2) for name in "abc"])
    # b's whole budget is there although a runs; c waits for a place.
    assert run.table() == ["P a0+8", "P b0+8", "D a b", "P c0+8", "D c"]


def test_a_prompt_longer_than_a_step_is_refused_for_good() -> None:
    core = make_core("separate", max_num_batched_tokens=8)
    run = drive(core, [make_request("a", 12, 2), make_request("b", 4, 1)])
    assert run.table() == ["P b0+4 | refuse a"]
    refusal = next(event for event in run.events if event.request_id == "a")
    assert refusal.token_id is None
    assert "12 tokens exceed" in refusal.detail


def test_last_in_line_is_preempted_and_recomputed_with_what_it_had_generated() -> None:
    # Five blocks of 4: a and b hold two each after their prompts and take turns for the fifth.
    core = make_core("separate", pool_tokens=20, max_model_len=20)
    run = drive(core, [make_request("a", 8, 5), make_request("b", 8, 4)])
    assert run.table() == [
        "P a0+8 b0+8",  # four blocks held, one free
        "D a | preempt b",  # a takes the fifth; b finds none free
        "D a",  # b waits: it needs 3 of the 2 free blocks
        "D a",
        "D a",
        "P b0+9",
        "D b",
        "D b",
    ]
    recomputed = run.steps[5].chunks[0].recomputed_tokens
    assert recomputed == 8


def test_a_free_block_is_asked_for_even_when_the_last_block_has_room() -> None:
    # v0's rule: two requests with room in their last blocks, and no free block: one must go.
    core = make_core("separate", pool_tokens=16, max_model_len=16)
    run = drive(core, [make_request("a", 6, 2), make_request("b", 6, 2)])
    assert run.table() == ["P a0+6 b0+6", "D a | preempt b", "P b0+7"]


def test_preempted_requests_come_back_oldest_first() -> None:
    core = make_core("separate", pool_tokens=24, max_model_len=24)
    run = drive(core, [make_request(name, 8, 8) for name in "abc"])
    first = next(step for step in run.steps if step.preempted)
    assert first.preempted == ("c",)
    finished = [event.request_id for event in run.events if event.finish]
    assert finished == ["a", "b", "c"]


def test_delay_factor_waits_for_prompts_to_gather() -> None:
    core = make_core("separate", delay_factor=2.0)
    run = drive(
        core,
        [make_request("a", 8, 6)],
        arrivals={
            1: [make_request("b", 4, 1, arrival_s=1.0)],
            2: [make_request("c", 4, 1, arrival_s=2.0)],
        },
    )
    # The prompt step took 1 s: b, due at 1 s, waits until more than 2 s have passed.
    assert run.table()[:5] == ["P a0+8", "D a", "D a", "D a", "P b0+4 c0+4"]
