"""Worked schedules of each way of batching. What is expected was worked out by hand from the rules
of the systems themselves, which the comments quote; blocks hold 4 tokens."""

from __future__ import annotations

import pytest
from llmbench.harness.schedule import Schedule, schedule

from .tables import row, scenario


def held_blocks(found: Schedule, step: int, name: str) -> int:
    (place,) = [one for one in found.steps[step].kv.places if one.request_id == name]
    return len(place.blocks)


# --- separate: vLLM's original default -------------------------------------------------------


def test_separate_prefills_stop_decodes_and_charge_their_own_tokens_only() -> None:
    # A step with a prompt decodes nothing. b and c are 16 tokens together, so they share a step
    # although a runs: running requests count for sequences, not for tokens.
    found = schedule(
        scenario("paged", row("a", 4, 4), row("b", 8, 1, 2), row("c", 8, 1, 2), budget=16)
    )
    assert found.lines == ["P a0+4", "D a", "P b0+8 c0+8", "D a", "D a"]


def test_separate_preempts_the_last_and_recomputes_what_it_had_generated() -> None:
    # Five blocks. After the prompts one is free; a takes it, b finds none and is last, so it goes.
    # It comes back when its 9 known tokens fit: 3 blocks, once a has ended.
    found = schedule(scenario("paged", row("a", 8, 5), row("b", 8, 4), pool_blocks=5))
    assert found.lines == [
        "P a0+8 b0+8",
        "D a | preempt b",
        *["D a"] * 3,
        "P b0+9",
        *["D b"] * 2,
    ]
    b = found.requests[1]
    assert (b.first_token_step, b.end_step, b.preemptions, b.recomputed_tokens) == (0, 7, 1, 8)
    assert b.longest_gap_steps == 5  # tokens in steps 0, 5, 6, 7


@pytest.mark.parametrize(("prompt_step_s", "decodes"), [(1.0, 3), (2.0, 5)])
def test_separate_waits_by_the_latency_of_the_last_prompt_step(
    prompt_step_s: float, decodes: int
) -> None:
    # b may start when now - its arrival > 2 x the prompt step's time. With 1 s it comes at 1 and
    # starts at 4; with 2 s it comes at 2, 4 s later (at 6) is not enough, and it starts at 7.
    found = schedule(
        scenario(
            {"preset": "paged", "delay_factor": 2.0},
            row("a", 4, 9),
            row("b", 4, 1, 1),
            prompt_step_s=prompt_step_s,
        )
    )
    assert found.lines[: decodes + 2] == ["P a0+4", *["D a"] * decodes, "P b0+4"]
    assert found.steps[decodes + 1].start_s == prompt_step_s + decodes


def test_separate_swaps_the_samples_of_a_request_out_and_in_together() -> None:
    # a holds 1 block, b's prompt 2. Then a takes one, and two of b's three samples copy the shared
    # half-full block: 1 + 1 + 1 + 3 = 6 of 7 held. At b's next turn 1 block is free for 3
    # sequences. It comes back when its 4 blocks and one each (7) are free: when a has ended.
    found = schedule(
        scenario("paged", row("a", 4, 10), row("b", 6, 4, n=3), pool_blocks=7, host_blocks=8)
    )
    assert found.lines == [
        "P a0+4 b0+6",
        "D a b b#1 b#2",
        "D a | out b b#1 b#2",
        *["D a"] * 7,
        "D b b#1 b#2 | in b b#1 b#2",
        "D b b#1 b#2",
    ]
    assert [step.kv.copied for step in found.steps[:3]] == [0, 2, 0]
    assert (found.steps[1].kv.held, found.steps[1].kv.shared) == (6, 2)
    assert found.steps[2].on_host == ("b", "b#1", "b#2")
    assert found.requests[1].swaps == 3
    assert found.requests[1].recomputed_tokens == 0


@pytest.mark.parametrize(("blocks", "refused"), [(99, False), (100, True)])
def test_the_watermark_is_one_percent_rounded_down(blocks: int, refused: bool) -> None:
    # NEVER iff total - needed < int(0.01 x total): 0 below 100 blocks, 1 at 100.
    found = schedule(scenario("paged", row("a", 4 * blocks, 1), budget=400, pool_blocks=blocks))
    assert found.requests[0].ending == ("refused" if refused else "finished")
    if refused:
        assert "need 100 blocks, the pool has 100, 1 of them kept free" in found.requests[0].reason


# --- mixed, one token budget: vLLM v1 --------------------------------------------------------


def test_unified_gives_new_prompts_what_running_ones_leave() -> None:
    # Budget 8: a's decode takes 1, b gets min(12, 7), then its last 5.
    found = schedule(scenario("vllm-v1", row("a", 4, 4), row("b", 12, 2, 1), budget=8))
    assert found.lines == ["P a0+4", "P b0+7 | D a", "P b7+5 | D a", "D a b"]
    # Room is taken chunk by chunk: 7 tokens are 2 blocks.
    assert held_blocks(found, 1, "b") == 2


def test_unified_takes_whole_blocks_from_the_cache_and_never_the_last_token() -> None:
    # b's 8 tokens are all cached, but at most 7 may be reused: one whole block.
    found = schedule(
        scenario(
            "vllm-v1",
            row("a", 8, 3, shared_prefix_tokens=8),
            row("b", 8, 2, 1, shared_prefix_tokens=8),
            row("c", 8, 2, 1, shared_prefix_tokens=8, shared_prefix="other"),
        )
    )
    assert found.lines == ["P a0+8", "P b4+4 c0+8 | D a", "D a b c"]
    assert [one.cached_tokens for one in found.requests] == [0, 4, 0]
    assert found.steps[1].kv.shared == 1


def test_unified_limits_a_long_prompt() -> None:
    engine = {"preset": "vllm-v1", "long_prefill_tokens": 5}
    found = schedule(scenario(engine, row("a", 12, 1), row("b", 4, 1), budget=16))
    assert found.lines == ["P a0+5 b0+4", "P a5+5", "P a10+2"]


# --- mixed, two stages: TensorRT-LLM ---------------------------------------------------------


def test_inflight_rounds_a_cut_chunk_down_and_lets_later_contexts_use_the_rest() -> None:
    # Budget 8, one decode: 7 left. b (12) is cut, so 7 becomes 4, a chunk of one block; c fits in
    # the 3 that are left. Then b gets min(8, 8 - 2 decodes) = 6, cut to 4, and its last 4.
    found = schedule(
        scenario("trtllm", row("a", 4, 5), row("b", 12, 1, 1), row("c", 2, 2, 1), budget=8)
    )
    assert found.lines == [
        "P a0+4",
        "P b0+4 c0+2 | D a",
        "P b4+4 | D a c",
        "P b8+4 | D a",
        "D a",
    ]


def test_inflight_charges_a_whole_prompt_with_its_first_chunk() -> None:
    found = schedule(scenario("trtllm-max-util", row("a", 12, 1), budget=8))
    assert found.lines == ["P a0+8", "P a8+4"]
    assert held_blocks(found, 0, "a") == 3


@pytest.mark.parametrize(
    ("chunking", "lines"),
    [
        ("fcfs", ["P a0+8", "P a8+4 b0+4", "P b4+8"]),
        ("equal", ["P a0+4 b0+4", "P a4+4 b4+4", "P a8+4 b8+4"]),
    ],
)
def test_inflight_chunking_serves_the_oldest_first_or_all_alike(
    chunking: str, lines: list[str]
) -> None:
    engine = {"preset": "trtllm", "chunking": chunking}
    assert schedule(scenario(engine, row("a", 12, 1), row("b", 12, 1), budget=8)).lines == lines


def test_reserve_counts_what_will_be_needed_and_optimistic_what_is_needed_now() -> None:
    # Each reaches 8 + 8 tokens, 4 blocks; 7 blocks: one at a time is promised. Optimistic starts
    # three, 2 blocks each. Their 9th tokens need 3 blocks and 1 is free: c, the last, makes room
    # for b, which leaves 1 block: c needs 3 to come back.
    rows = [row(name, 8, 8) for name in "abc"]
    promised = schedule(scenario("trtllm", *rows, pool_blocks=7))
    assert promised.lines[0] == "P a0+8"
    assert max(len(step.running) for step in promised.steps) == 1
    assert sum(one.preemptions for one in promised.requests) == 0
    started = schedule(scenario("trtllm-max-util", *rows, pool_blocks=7))
    assert started.lines[:3] == ["P a0+8 b0+8 c0+8", "D a b | preempt c", "D a b"]
    assert started.steps[1].waiting == ("c",)


# --- mixed in Sarathi's order, and static ----------------------------------------------------


def test_sarathi_takes_decodes_then_prompts_under_way_then_new_ones() -> None:
    # Each min(remaining, chunk - batched) with a chunk of 8: b 7, then b 5 and c 2, then c 4.
    found = schedule(
        scenario("sarathi", row("a", 4, 5), row("b", 12, 1, 1), row("c", 6, 1, 2), budget=8)
    )
    assert found.lines == ["P a0+4", "P b0+7 | D a", "P b7+5 c0+2 | D a", "P c2+4 | D a", "D a"]


def test_static_lets_nobody_join_until_all_have_left() -> None:
    found = schedule(
        scenario(
            "static", row("a", 4, 1), row("b", 4, 3), row("c", 4, 1), row("d", 4, 1, 1), seqs=2
        )
    )
    assert found.lines == ["P a0+4 b0+4", "D b", "D b", "P c0+4 d0+4"]
    assert found.steps[1].running == ("b",)


# --- what all have in common -----------------------------------------------------------------


def test_a_contiguous_cache_has_holes() -> None:
    # 24 slots, set aside exactly: a 0-5, b 6-17, c 18-23. a and c end in step 1: 12 slots are free
    # and d needs 12, but they are two holes of 6. It starts when b has ended, in step 7.
    engine = {"preset": "inflight", "kv_reservation": "oracle"}
    found = schedule(
        scenario(
            engine,
            *(row("a", 4, 2), row("b", 4, 8), row("c", 4, 2), row("d", 8, 4, 1)),
            pool_tokens=24,
        )
    )
    assert [one.run for one in found.steps[0].kv.places] == [(0, 6), (6, 12), (18, 6)]
    assert (found.kv_unit, found.steps[2].kv.free, found.steps[2].kv.external) == ("tokens", 12, 12)
    assert found.requests[3].first_token_step == 8
    assert found.steps[8].kv.external == 0


def test_a_lower_priority_number_goes_first_and_makes_room_last() -> None:
    # As the first preemption above, but b matters more: a makes room for it.
    found = schedule(
        scenario("paged", row("a", 8, 4, priority=1), row("b", 8, 4), pool_blocks=5, seqs=2)
    )
    assert found.lines[:2] == ["P b0+8 a0+8", "D b | preempt a"]


def test_an_aborted_request_gives_its_room_to_who_waits() -> None:
    found = schedule(
        scenario("trtllm", row("a", 8, 8, abort_step=2), row("b", 8, 8), pool_blocks=4)
    )
    assert found.lines[:4] == ["P a0+8", "D a", "P b0+8 | abort a", "D b"]
    a = found.requests[0]
    assert (a.ending, a.end_step) == ("aborted", 2)
    assert found.steps[1].waiting == ("b",)
    assert found.steps[2].kv.held == 2


def test_requests_that_can_never_be_served_are_refused_with_the_numbers() -> None:
    # Three blocks, 12 tokens: big needs 5 blocks, grow reaches 14 tokens.
    found = schedule(
        scenario("vllm-v1", row("big", 20, 1), row("grow", 8, 6), row("fits", 4, 1), pool_blocks=3)
    )
    big, grow, fits = found.requests
    assert (big.ending, big.first_token_step) == ("refused", None)
    assert big.reason.endswith("its 20 tokens: they need 5 blocks, the pool has 3")
    # Five tokens come before it knows 13 and has nobody to take room from but itself.
    assert (grow.ending, grow.preemptions) == ("refused", 1)
    assert grow.reason.endswith("its 13 tokens: they need 4 blocks, the pool has 3")
    assert fits.ending == "finished"
    reserved = schedule(scenario("trtllm", row("grow", 8, 6), pool_blocks=3)).requests[0]
    assert reserved.reason.endswith("its 14 tokens: they need 4 blocks, the pool has 3")


def test_steps_with_nobody_there_take_time_but_no_row() -> None:
    found = schedule(scenario("paged", row("a", 4, 2), row("b", 4, 1, 10), step_s=0.5))
    assert [step.index for step in found.steps] == [0, 1, 10]
    assert [step.start_s for step in found.steps] == [0, 0.5, 5]


def test_a_schedule_may_be_cut_short() -> None:
    found = schedule(scenario("paged", row("a", 4, 9), max_steps=3))
    assert len(found.steps) == 3
    assert (found.requests[0].ending, found.requests[0].end_step) == ("unfinished", None)
