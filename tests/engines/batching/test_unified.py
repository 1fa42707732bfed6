"""The documented behaviour of vLLM v1's scheduler, as schedules a reader can follow.

Blocks hold 4 tokens. A line is a step: `P a0+8` computes tokens 0 to 7 of a's prompt, `D b` one
token of b.
"""

from __future__ import annotations

from typing import Any

from ..drive import drive, make_core, make_request


def test_prompts_and_decodes_share_one_budget() -> None:
    core = make_core("unified", max_num_batched_tokens=8)
    run = drive(core, [make_request("a", 4, 4)], arrivals={1: [make_request("b", 16, 1)]})
    # a's decode takes one of the eight tokens, b's prompt the other seven.
    assert run.table() == ["P a0+4", "P b0+7 | D a", "P b7+7 | D a", "P b14+2 | D a"]


def test_a_chunk_is_cut_by_the_budget() -> None:
    run = drive(make_core("unified", max_num_batched_tokens=8), [make_request("a", 20, 1)])
    assert run.table() == ["P a0+8", "P a8+8", "P a16+4"]
    assert [event.time_s for event in run.events] == [3.0]


def test_a_chunk_is_cut_by_the_long_prefill_threshold() -> None:
    core = make_core("unified", max_num_batched_tokens=8, long_prefill_tokens=4)
    run = drive(core, [make_request("a", 10, 1), make_request("b", 10, 1)])
    # Without it a would take all eight and b would wait.
    assert run.table() == ["P a0+4 b0+4", "P a4+4 b4+4", "P a8+2 b8+2"]


def test_running_requests_go_in_order_and_one_without_budget_is_skipped() -> None:
    core = make_core("unified", max_num_batched_tokens=6, long_prefill_tokens=4)
    requests = [
        make_request("a", 5, 3, n=2),
        make_request("b", 12, 1),
        make_request("c", 1, 2),
    ]
    assert drive(core, requests).table() == [
        "P a0+4 b0+2",  # six tokens
        "P a4+1 b2+4 c0+1",  # six; a's prompt is done and it becomes two samples
        "P b6+4 | D a a#1",  # 1 + 1 + 4: nothing is left for c, which decodes but stands behind b
        "P b10+2 | D a a#1 c",
    ]


def test_waiting_requests_get_what_the_running_ones_leave() -> None:
    core = make_core("unified", max_num_batched_tokens=8)
    run = drive(
        core,
        [make_request("a", 12, 1)],
        arrivals={1: [make_request("b", 6, 1)]},
    )
    # a was first, so its last four tokens go first; b gets the other four.
    assert run.table() == ["P a0+8", "P a8+4 b0+4", "P b4+2"]


def test_no_more_run_than_there_are_seats() -> None:
    core = make_core("unified", max_num_seqs=2)
    run = drive(core, [make_request(name, 4, 2) for name in "abc"])
    assert run.table() == ["P a0+4 b0+4", "D a b", "P c0+4", "D c"]


def test_the_last_that_runs_makes_room() -> None:
    # Six blocks, all held after the prompts.
    core = make_core("unified", pool_tokens=24, max_model_len=24)
    run = drive(core, [make_request(name, 8, 3) for name in "abc"])
    assert run.table() == [
        "P a0+8 b0+8 c0+8",
        "D a b | preempt c",  # a asks, c gives its two blocks; a takes one, b the other
        "D a b",
        "P c0+9",  # eight of the prompt and the token c had
        "D c",
    ]
    assert run.steps[3].chunks[0].recomputed_tokens == 8


def test_who_asks_and_is_last_makes_room_itself() -> None:
    # Five blocks: a takes the free one, b finds none and nobody behind it.
    core = make_core("unified", pool_tokens=20, max_model_len=20)
    run = drive(core, [make_request("a", 8, 5), make_request("b", 8, 4)])
    assert run.table() == [
        "P a0+8 b0+8",
        "D a | preempt b",
        "D a",  # b needs three blocks, two are free
        "D a",
        "D a",
        "P b0+9",
        "D b",
        "D b",
    ]


def test_a_decode_needs_no_free_block_while_its_last_one_has_room() -> None:
    # v0 would preempt b here (see test_separate).
    core = make_core("unified", pool_tokens=16, max_model_len=16)
    run = drive(core, [make_request("a", 6, 2), make_request("b", 6, 2)])
    assert run.table() == ["P a0+6 b0+6", "D a b"]


def test_nobody_starts_in_a_step_that_preempted() -> None:
    core = make_core("unified", pool_tokens=28, max_model_len=28, long_prefill_tokens=8)
    requests = [make_request("a", 8, 3), make_request("b", 7, 3), make_request("c", 12, 1)]
    assert drive(core, requests).table() == [
        "P a0+8 b0+7 c0+8",  # two blocks each, one is free
        # a takes it; c asks for a third block and is last. Its two blocks would hold the first
        # eight of its twelve tokens, but nobody starts now.
        "D a b | preempt c",
        "D a b",  # b takes a block, one is left, c's eight tokens need two
        "P c0+8",
        "P c8+4",
    ]


def test_blocks_are_taken_chunk_by_chunk() -> None:
    core = make_core("unified", max_num_batched_tokens=8)
    run = drive(core, [make_request("a", 20, 1)])
    assert [step.kv.held_tokens for step in run.steps] == [8, 16, 20]


def test_without_chunking_a_prompt_that_does_not_fit_whole_stops_the_queue() -> None:
    core = make_core("unified", max_num_batched_tokens=12, chunked=False)
    requests = [make_request("a", 8, 2), make_request("b", 8, 1), make_request("c", 2, 1)]
    # After a four tokens are left: b needs eight, and c, which would fit, stands behind it.
    assert drive(core, requests).table() == ["P a0+8", "P b0+8 c0+2 | D a"]


def test_a_prefix_hit_is_whole_blocks_and_found_in_the_step_that_computes_it() -> None:
    core = make_core("unified", kv_options={"prefix_cache": True})
    # Ten tokens share two blocks and a half: a names its two full blocks when it takes them, so b,
    # which starts right after it, finds eight tokens.
    run = drive(core, [make_request(name, 10, 1, shared=10) for name in "ab"])
    assert run.table() == ["P a0+10 b8+2"]
    assert run.steps[0].chunks[1].cached_tokens == 8


def test_the_newest_token_is_always_computed() -> None:
    core = make_core("unified", kv_options={"prefix_cache": True})
    # Eight equal tokens are two full blocks, but a hit ends before the last token: one block.
    run = drive(core, [make_request(name, 8, 1, shared=8) for name in "ab"])
    assert run.table() == ["P a0+8 b4+4"]


def test_who_was_preempted_finds_its_own_blocks_again() -> None:
    core = make_core("unified", pool_tokens=20, max_model_len=20, kv_options={"prefix_cache": True})
    run = drive(core, [make_request("a", 8, 2), make_request("b", 8, 2)])
    # b's two blocks are free but keep their names, and nobody has needed them since.
    assert run.table() == ["P a0+8 b0+8", "D a | preempt b", "P b8+1"]


def test_lower_priority_numbers_start_first_and_make_room_last() -> None:
    core = make_core("unified", pool_tokens=20, max_model_len=20)
    run = drive(
        core,
        [make_request("a", 8, 4, priority=1)],
        arrivals={1: [make_request("b", 8, 3)]},
    )
    assert run.table() == [
        "P a0+8",
        "P b0+8 | D a",  # five blocks: three of a, two of b
        "D b | preempt a",  # b asks for a third; a came first but matters less
        "D b",
        "P a0+10",
        "D a",
    ]


def test_a_prompt_whose_first_chunk_alone_would_fit_waits_where_all_of_it_must() -> None:
    """Eight blocks of four; `a` takes four. Of `b`'s six its first chunk needs one: it starts and
    makes room half computed, or waits until `a` is done."""
    requests = [make_request("a", 14, 4), make_request("b", 22, 2)]
    kw: dict[str, Any] = {"pool_tokens": 32, "max_num_batched_tokens": 8, "max_num_seqs": 2}
    eager = drive(make_core("unified", **kw, admission_options={"watermark": 0.0}), requests)
    core = make_core("unified", **kw, whole_prompt_fits=True, admission_options={"watermark": 0.0})
    patient = drive(core, requests)
    assert any(step.preempted for step in eager.steps)
    assert not any(step.preempted for step in patient.steps)
    assert all(patient.tokens(name) == eager.tokens(name) for name in "ab")
