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


def test_one_free_block_is_enough_for_all_whose_last_blocks_have_room() -> None:
    core = make_core("separate", pool_tokens=20, max_model_len=20)
    run = drive(core, [make_request("a", 6, 2), make_request("b", 6, 2)])
    # a asks for the fifth block and does not take it, so it is there for b to ask for.
    assert run.table() == ["P a0+6 b0+6", "D a b"]


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


def test_the_first_that_finds_no_room_stops_the_queue() -> None:
    # Five blocks: a takes three, b needs three, c would fit but stands behind b.
    core = make_core("separate", pool_tokens=20)
    requests = [make_request("a", 12, 2), make_request("b", 12, 1), make_request("c", 4, 1)]
    assert drive(core, requests).table() == ["P a0+12", "D a", "P b0+12 c0+4"]


def test_a_prompt_that_no_empty_cache_holds_is_refused_with_the_numbers() -> None:
    core = make_core("separate", pool_tokens=20)
    run = drive(core, [make_request("a", 24, 2), make_request("b", 4, 1)])
    assert run.table() == ["P b0+4 | refuse a"]
    refusal = next(event for event in run.events if event.request_id == "a")
    assert "its 24 tokens: they need 6 blocks, the pool has 5" in refusal.detail


def test_a_recomputed_request_that_outgrew_a_step_is_refused() -> None:
    core = make_core("separate", pool_tokens=20, max_model_len=20, max_num_batched_tokens=8)
    run = drive(core, [make_request("a", 8, 3), make_request("b", 8, 4)])
    assert run.table() == [
        "P a0+8",
        "P b0+8",
        "D a | preempt b",
        "D a | refuse b",  # its prompt of 8 and the token it had are more than 8
    ]


def test_only_uncached_tokens_are_charged() -> None:
    core = make_core("separate", max_num_batched_tokens=12, kv_options={"prefix_cache": True})
    run = drive(core, [make_request(name, 10, 1, shared=8) for name in "abc"])
    # Ten tokens leave no room for ten more; with eight of them cached, 2 + 2 fit.
    assert run.table() == ["P a0+10", "P b8+2 c8+2"]


def test_prompts_of_one_step_do_not_find_each_other() -> None:
    core = make_core("separate", kv_options={"prefix_cache": True})
    run = drive(core, [make_request(name, 10, 1, shared=8) for name in "ab"])
    assert run.table() == ["P a0+10 b0+10"]


def test_prompts_wait_for_no_delay_while_nothing_runs() -> None:
    run = drive(make_core("separate", delay_factor=2.0), [make_request("a", 8, 1)])
    assert run.table() == ["P a0+8"]


AUTO = {"preemption": "auto"}


def test_a_group_needs_a_free_block_for_each_sample_and_is_swapped_whole() -> None:
    core = make_core(
        "separate",
        pool_tokens=20,
        max_model_len=20,
        admission_options=AUTO,
        kv_options={"host_blocks": 8},
    )
    run = drive(
        core,
        [make_request("a", 8, 4), make_request("b", 6, 3, n=2)],
        arrivals={2: [make_request("c", 2, 1)]},
    )
    assert run.table() == [
        "P a0+8 b0+6",  # two blocks each, one is free
        "D a | out b b#1",  # a takes it; b's samples ask for two
        "D a",  # b is swapped out, so c may not start; b needs 2 blocks and 2 to write on
        "D a",
        "D b b#1 | in b b#1",
        "P c0+2",
        "D b b#1",
    ]


def test_one_sequence_is_recomputed_although_the_host_has_room() -> None:
    core = make_core(
        "separate",
        pool_tokens=20,
        max_model_len=20,
        admission_options=AUTO,
        kv_options={"host_blocks": 8},
    )
    run = drive(core, [make_request("a", 8, 2), make_request("b", 8, 2)])
    assert run.table() == ["P a0+8 b0+8", "D a | preempt b", "P b0+9"]


def test_without_room_on_the_host_a_group_is_recomputed() -> None:
    core = make_core("separate", pool_tokens=20, max_model_len=20, admission_options=AUTO)
    run = drive(core, [make_request("a", 8, 2), make_request("b", 6, 2, n=2)])
    # Its samples come back one by one, each with the prompt and the token it had.
    assert run.table() == ["P a0+8 b0+6", "D a | preempt b b#1", "P b0+7 b#10+7"]


def test_a_group_that_could_never_come_back_from_the_host_is_recomputed() -> None:
    # Three blocks, and the samples of one request hold two. They ask for two more, one is free; to
    # come back they would need four.
    core = make_core(
        "separate",
        pool_tokens=12,
        max_model_len=12,
        admission_options=AUTO,
        kv_options={"host_blocks": 8},
    )
    run = drive(core, [make_request("g", 6, 2, n=2)])
    assert run.table() == ["P g0+6", "preempt g g#1", "P g0+7", "P g#10+7"]


def test_nobody_is_swapped_in_by_a_step_that_preempted() -> None:
    # Five blocks, all held after the prompts: a one, c three, s one for its two samples.
    core = make_core(
        "separate",
        pool_tokens=20,
        max_model_len=20,
        admission_options=AUTO,
        kv_options={"host_blocks": 8},
    )
    requests = [
        make_request("a", 4, 3),
        make_request("c", 12, 2),
        make_request("s", 2, 2, n=2),
    ]
    assert drive(core, requests).table() == [
        "P a0+4 c0+12 s0+2",
        # a takes the block of s; c finds none and is the last. Its three blocks would be enough
        # for s (one, and two to write on), but not in this step.
        "D a | preempt c | out s s#1",
        "D a s s#1 | in s s#1",
        "P c0+13",
    ]


def test_who_was_swapped_out_comes_back_oldest_first() -> None:
    # Three blocks, one for each prompt.
    core = make_core(
        "separate",
        pool_tokens=12,
        max_model_len=12,
        max_num_seqs=5,
        admission_options=AUTO,
        kv_options={"host_blocks": 8},
    )
    requests = [
        make_request("a", 4, 3),
        make_request("b", 2, 2, n=2),
        make_request("c", 2, 2, n=2),
    ]
    assert drive(core, requests).table() == [
        "P a0+4 b0+2 c0+2",
        "D a | out c c#1 b b#1",  # a takes c's block; b asks for two and is the last
        "D a",
        "D b b#1 | in b b#1",  # one block and two to write on: all three
        "D c c#1 | in c c#1",
    ]


def test_the_last_of_the_lowest_priority_makes_room() -> None:
    core = make_core("separate", pool_tokens=20, max_model_len=20)
    run = drive(
        core,
        [make_request("a", 8, 3, priority=1)],
        arrivals={1: [make_request("b", 8, 3)]},
    )
    assert run.table() == [
        "P a0+8",
        "P b0+8",
        "D b | preempt a",  # b takes the fifth block; a, which came first, finds none
        "D b",
        "P a0+9",
        "D a",
    ]


def test_what_was_reserved_is_not_asked_for() -> None:
    core = make_core("separate", "reserve", pool_tokens=16, max_model_len=16)
    run = drive(core, [make_request("a", 6, 2), make_request("b", 6, 2)])
    assert run.table() == ["P a0+6 b0+6", "D a b"]


def test_one_free_block_is_too_few_for_two_samples_although_their_last_blocks_have_room() -> None:
    core = make_core(
        "separate",
        pool_tokens=20,
        max_model_len=20,
        admission_options=AUTO,
        kv_options={"host_blocks": 8},
    )
    run = drive(core, [make_request("a", 4, 4), make_request("g", 2, 3, n=2)])
    assert run.table() == [
        "P a0+4 g0+2",  # one block each, three are free
        "D a g g#1",  # a takes one, the first sample that writes a copy of the shared one
        "D a | out g g#1",  # one is left: enough for a, which takes none, and not for two
        "D a",
        "D g g#1 | in g g#1",
    ]
