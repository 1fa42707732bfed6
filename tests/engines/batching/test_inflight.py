"""In-flight batching: decodes first, contexts in chunks of what is left."""

from __future__ import annotations

import pytest
from llmbench.engines.errors import ConfigError
from llmbench.engines.step import Limits

from ..drive import drive, make_core, make_request


def test_a_new_prompt_joins_the_step_of_a_running_decode() -> None:
    core = make_core("inflight", "reserve")
    run = drive(core, [make_request("a", 8, 3)], arrivals={1: [make_request("b", 4, 2)]})
    assert run.table() == ["P a0+8", "P b0+4 | D a", "D a b"]


def test_a_long_prompt_is_chunked_beside_decodes() -> None:
    core = make_core("inflight", "reserve", max_num_batched_tokens=8)
    run = drive(core, [make_request("a", 4, 4)], arrivals={1: [make_request("b", 16, 1)]})
    assert run.table() == ["P a0+4", "P b0+7 | D a", "P b7+7 | D a", "P b14+2 | D a"]


def test_contexts_share_what_is_left_first_come_first_served() -> None:
    core = make_core("inflight", "reserve", max_num_batched_tokens=12)
    run = drive(core, [make_request(name, 8, 1) for name in "abc"])
    assert run.table() == ["P a0+8 b0+4", "P b4+4 c0+8"]


def test_without_chunking_a_prompt_that_does_not_fit_whole_waits() -> None:
    core = make_core("inflight", "reserve", max_num_batched_tokens=12, chunked=False)
    run = drive(core, [make_request(name, 8, 1) for name in "ab"])
    assert run.table() == ["P a0+8", "P b0+8"]


def test_only_the_last_chunk_yields_a_token() -> None:
    core = make_core("inflight", "reserve", max_num_batched_tokens=4)
    run = drive(core, [make_request("a", 10, 1)])
    assert run.table() == ["P a0+4", "P a4+4", "P a8+2"]
    assert [event.time_s for event in run.events] == [3.0]


def test_reserve_starts_only_what_can_finish() -> None:
    # Room for 8 blocks; each request may come to need 4 (8 + 8 tokens): two at a time.
    core = make_core("inflight", "reserve", pool_tokens=32)
    run = drive(core, [make_request(name, 8, 8) for name in "abc"])
    assert max(step.running for step in run.steps) == 2
    assert not any(step.preempted for step in run.steps)


def test_optimistic_starts_more_and_preempts_the_last() -> None:
    core = make_core("inflight", "optimistic", pool_tokens=32)
    run = drive(core, [make_request(name, 8, 8) for name in "abc"])
    assert max(step.running for step in run.steps) == 3
    assert any(step.preempted for step in run.steps)
    assert [event.request_id for event in run.events if event.finish] == ["a", "b", "c"]


def test_a_context_under_way_makes_room_before_a_decode_does() -> None:
    core = make_core("inflight", "optimistic", pool_tokens=24, max_num_batched_tokens=4)
    run = drive(core, [make_request("a", 4, 8)], arrivals={1: [make_request("b", 16, 1)]})
    first = next(step for step in run.steps if step.preempted)
    assert first.preempted == ("b",)
    assert len(run.tokens("a")) == 8
    assert len(run.tokens("b")) == 1


def test_a_budget_that_cannot_decode_everybody_is_a_configuration_error() -> None:
    with pytest.raises(ConfigError, match="max_num_batched_tokens: 2 is not allowed"):
        Limits(max_num_seqs=4, max_num_batched_tokens=2)


# The capacity stage: who may hold memory.


def test_reserve_counts_a_context_under_way_and_its_first_misfit_ends_the_admission() -> None:
    # Eight blocks. To completion: a ceil(17 / 4) = 5, b 4, c 2.
    core = make_core("inflight", "reserve", pool_tokens=32, max_num_batched_tokens=4)
    requests = [make_request("a", 16, 1), make_request("b", 15, 1), make_request("c", 4, 1)]
    run = drive(core, requests)
    # While a is computed, b would make nine; c would make seven, but it stands behind b.
    assert run.table() == [
        "P a0+4",
        "P a4+4",
        "P a8+4",
        "P a12+4",
        "P b0+4",
        "P b4+4",
        "P b8+4",
        "P b12+3 c0+1",
        "P c1+3",
    ]
    # c begins when it gets its first token.
    assert [step.running for step in run.steps] == [1, 1, 1, 1, 1, 1, 1, 2, 1]


def test_optimistic_charges_the_whole_prompt_with_its_first_chunk() -> None:
    # Six blocks. a's prompt needs four; of b's four tokens could be computed now.
    def first_step(prompt: int):
        core = make_core("inflight", pool_tokens=24, max_num_batched_tokens=20, max_model_len=24)
        run = drive(core, [make_request("a", 16, 1), make_request("b", prompt, 1)])
        return run.steps[0]

    fits, misfits = first_step(8), first_step(9)
    assert (fits.running, fits.waiting, fits.kv.held_tokens) == (2, 0, 24)
    assert (misfits.running, misfits.waiting, misfits.kv.held_tokens) == (1, 1, 16)


def test_optimistic_counts_those_that_begin_in_one_step_against_each_other() -> None:
    # Ten blocks, six a prompt. Whoever may not begin has no share of the step's tokens.
    core = make_core(
        "inflight", pool_tokens=40, max_num_batched_tokens=16, chunk_unit=4, chunking="equal"
    )
    run = drive(core, [make_request("a", 24, 1), make_request("b", 24, 1)])
    assert run.table() == ["P a0+16", "P a16+8", "P b0+16", "P b16+8"]


def test_optimistic_pauses_the_last_that_started_and_considers_nobody_behind_it() -> None:
    # Seven blocks: a and b hold two each, c three.
    core = make_core("inflight", pool_tokens=28, max_model_len=28)
    run = drive(
        core,
        [make_request("a", 8, 3), make_request("b", 7, 3), make_request("c", 12, 2)],
        arrivals={1: [make_request("d", 2, 1)]},
    )
    assert run.table() == [
        "P a0+8 b0+7 c0+12",
        "D a b | preempt c",  # a takes one of c's blocks; d would fit into the others
        "D a b",  # c comes back with 13 tokens as its prompt: four blocks, too many; d waits
        "P c0+13 d0+2",
    ]


def test_who_asks_and_is_last_pauses_itself() -> None:
    core = make_core("inflight", pool_tokens=20, max_model_len=20)
    run = drive(core, [make_request("a", 8, 3), make_request("b", 8, 2)])
    assert run.table() == ["P a0+8 b0+8", "D a | preempt b", "D a", "P b0+9"]


def test_a_new_request_that_matters_more_pauses_the_last_for_its_blocks() -> None:
    # Four blocks, all held.
    core = make_core("inflight", pool_tokens=16, max_model_len=16)
    run = drive(
        core,
        [make_request("a", 8, 2, priority=1), make_request("b", 8, 2, priority=1)],
        arrivals={1: [make_request("h", 8, 2)]},
    )
    assert run.table() == [
        "P a0+8 b0+8",
        "P h0+8 | preempt b a",  # h takes b's; then a asks for a third block and is the last
        "D h",
        "P a0+9",
        "P b0+9",
    ]


def test_a_new_request_that_matters_more_pauses_the_last_for_its_seat() -> None:
    core = make_core("inflight", max_num_seqs=2)
    run = drive(
        core,
        [make_request("a", 8, 3, priority=1), make_request("b", 8, 2, priority=1)],
        arrivals={1: [make_request("h", 8, 1)]},
    )
    assert run.table() == ["P a0+8 b0+8", "P h0+8 | D a | preempt b", "P b0+9 | D a"]


def test_under_reserve_a_new_request_that_matters_more_waits() -> None:
    core = make_core("inflight", "reserve", max_num_seqs=2)
    run = drive(
        core,
        [make_request("a", 8, 2, priority=1), make_request("b", 8, 2, priority=1)],
        arrivals={1: [make_request("h", 8, 1)]},
    )
    assert run.table() == ["P a0+8 b0+8", "D a b", "P h0+8"]


def test_a_context_whose_first_new_block_is_being_computed_is_skipped() -> None:
    core = make_core("inflight", "reserve", kv_options={"prefix_cache": True})
    requests = [
        make_request("a", 10, 1, shared=8),
        make_request("b", 10, 1, shared=8),
        make_request("c", 6, 1),
    ]
    # b would compute the two blocks that a computes now; c, behind it, has nothing to wait for.
    assert drive(core, requests).table() == ["P a0+10 c0+6", "P b8+2"]


def test_the_skipped_one_waits_for_all_that_it_can_reuse() -> None:
    core = make_core(
        "inflight", "reserve", max_num_batched_tokens=6, kv_options={"prefix_cache": True}
    )
    requests = [make_request(name, 10, 1, shared=8) for name in "ab"]
    assert drive(core, requests).table() == ["P a0+6", "P a6+4", "P b8+2"]


def test_blocks_are_found_when_the_whole_context_is_done() -> None:
    options = {"prefix_cache": True, "whole_contexts": True}
    core = make_core("inflight", "reserve", max_num_batched_tokens=6, kv_options=options)
    requests = [make_request("a", 16, 1, shared=8), make_request("b", 10, 1, shared=8)]
    # After two chunks both shared blocks are computed, and b would fit beside the third.
    assert drive(core, requests).table() == ["P a0+6", "P a6+6", "P a12+4", "P b8+2"]


def test_what_has_room_and_no_tokens_counts_beside_those_behind_it() -> None:
    # Eight blocks. To completion: a four, b three, c two, of which one is left.
    core = make_core("inflight", "reserve", pool_tokens=32, max_num_batched_tokens=12, chunk_unit=8)
    requests = [make_request("a", 8, 8), make_request("b", 11, 1), make_request("c", 4, 4)]
    run = drive(core, requests)
    # b's four tokens are rounded down to none. c would fit into the step and into what is free.
    assert run.table()[:2] == ["P a0+8", "P b0+11 | D a"]


def test_who_has_not_begun_loses_nothing_when_others_grow() -> None:
    # Five blocks: a two, b two, and one is free until a asks for a third.
    core = make_core("inflight", pool_tokens=20, max_num_batched_tokens=9, max_model_len=20)
    requests = [make_request("a", 8, 6), make_request("b", 8, 1)]
    run = drive(core, requests)
    assert run.table()[:3] == ["P a0+8 b0+1", "P b1+7 | D a", "D a"]
    core = make_core("inflight", pool_tokens=16, max_num_batched_tokens=8, max_model_len=16)
    run = drive(core, [make_request("a", 8, 4), make_request("b", 8, 1)])
    # b passed the first stage, and no tokens were left for it; then a takes a block that it wanted.
    assert run.table() == ["P a0+8", "D a", "D a", "D a", "P b0+8"]
    assert not any(step.preempted for step in run.steps)


def test_nobody_overtakes_a_context_that_finds_no_piece_of_a_contiguous_cache() -> None:
    # x, z and v leave holes of 8, 4 and 4 tokens, into which a, b and c would fit by number.
    core = make_core(
        "inflight",
        kv="contiguous",
        pool_tokens=24,
        max_num_seqs=8,
        max_model_len=8,
        kv_options={"reservation": "oracle"},
    )
    lengths = {"x": (7, 1), "y": (1, 3), "z": (3, 1), "w": (1, 3), "v": (3, 1)}
    lengths |= {"a": (1, 3), "b": (7, 1), "c": (2, 2)}
    run = drive(core, [make_request(name, *lengths[name]) for name in lengths])
    # a lies where b would have to: b waits, and c behind it, who would be paused for it.
    assert run.table()[1:4] == ["P a0+1 | D y w", "D y w a", "P b0+7 c0+2 | D a"]
    assert not any(step.preempted for step in run.steps)


# The micro-batch stage: whose tokens are computed.


def test_fcfs_rounds_down_only_a_chunk_that_is_cut_and_later_contexts_use_the_rest() -> None:
    core = make_core("inflight", "reserve", max_num_batched_tokens=10, chunk_unit=4)
    requests = [make_request("a", 8, 1), make_request("b", 9, 1), make_request("c", 2, 1)]
    run = drive(core, requests)
    # a whole; of b two tokens would fit, rounded down none; c takes the two.
    assert run.table() == ["P a0+8 c0+2", "P b0+9"]
    # b's chunk of none is not scheduled: it has not begun, and takes no room.
    assert (run.steps[0].running, run.steps[0].waiting) == (2, 1)
    assert run.steps[0].kv.held_tokens == 8 + 4


def test_a_whole_context_is_not_rounded() -> None:
    core = make_core("inflight", "reserve", max_num_batched_tokens=16, chunk_unit=4)
    run = drive(core, [make_request("a", 7, 1), make_request("b", 12, 1)])
    # a keeps its seven, b's nine are cut to eight.
    assert run.table() == ["P a0+7 b0+8", "P b8+4"]


def test_equal_progress_gives_a_unit_to_each_in_turn_and_skips_one_that_does_not_fit() -> None:
    core = make_core(
        "inflight", "reserve", max_num_batched_tokens=12, chunk_unit=4, chunking="equal"
    )
    requests = [make_request("a", 10, 1), make_request("b", 6, 1), make_request("c", 3, 1)]
    # 4 + 4 + 3 = 11. The one token left fits neither a's next four nor b's last two.
    assert drive(core, requests).table() == ["P a0+4 b0+4 c0+3", "P a4+6 b4+2"]


def test_equal_progress_goes_round_until_the_budget_is_spent() -> None:
    core = make_core(
        "inflight", "reserve", max_num_batched_tokens=20, chunk_unit=4, chunking="equal"
    )
    # 4 each, 4 each, then one more for a: 12 and 8.
    run = drive(core, [make_request("a", 16, 1), make_request("b", 12, 1)])
    assert run.table() == ["P a0+12 b0+8", "P a12+4 b8+4"]


@pytest.mark.parametrize("chunking", ["fcfs", "equal"])
def test_a_cap_applies_to_each_chunk(chunking: str) -> None:
    core = make_core("inflight", chunk_unit=4, long_prefill_tokens=4, chunking=chunking)
    run = drive(core, [make_request("a", 10, 1), make_request("b", 3, 1)])
    # All thirteen tokens fit the budget of 32; the cap cuts a nevertheless.
    assert run.table() == ["P a0+4 b0+3", "P a4+4", "P a8+2"]


def test_without_chunking_list_order_holds_for_decodes_too() -> None:
    core = make_core("inflight", "reserve", max_num_batched_tokens=12, chunked=False)
    run = drive(
        core,
        [make_request("low", 4, 3, priority=1)],
        arrivals={1: [make_request("high", 12, 2)]},
    )
    # `high` stands in front and fills the step; the decode behind it is the first misfit.
    assert run.table() == ["P low0+4", "P high0+12", "D high low", "D low"]


def test_without_chunking_generation_is_charged_before_a_context_behind_it() -> None:
    core = make_core("inflight", "reserve", max_num_batched_tokens=12, chunked=False)
    run = drive(core, [make_request("a", 4, 2)], arrivals={1: [make_request("b", 12, 1)]})
    # 1 + 12 is one too many.
    assert run.table() == ["P a0+4", "D a", "P b0+12"]
