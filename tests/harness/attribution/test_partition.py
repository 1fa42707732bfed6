"""Each part on a schedule worked by hand; then the fast path against the definition."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llmbench.engines.trace import StepTrace
from llmbench.harness.attribution import partition as partition_module
from llmbench.harness.attribution import timeline_of_tables, timeline_of_traces
from llmbench.harness.attribution.partition import PARTS, Intervals, partition
from llmbench.harness.run.record import RequestRecord
from llmbench.harness.tables.steps import steps_frame

from .reference import ms, reference_parts
from .schedule import MS, Chunk, random_run, step

SEEDS = st.integers(0, 2**32 - 1)


def parts_ms(
    name: str, from_ms: float, to_ms: float, steps: Sequence[StepTrace]
) -> dict[str, float]:
    """The parts of one interval that are not 0, in ms."""
    timeline = timeline_of_traces([name], steps)
    (row,) = partition(
        timeline, Intervals(np.array([0]), np.array([from_ms * MS]), np.array([to_ms * MS]))
    )
    named = dict(zip(PARTS, (row / MS).tolist(), strict=True))
    return {part: round(value, 9) for part, value in named.items() if abs(value) > 1e-9}


def test_all_the_time_before_the_first_step_is_queue() -> None:
    """Due at 3; steps of another until 20, an idle gap until 25; its prompt takes 25 to 35."""
    steps = [
        step(0, ("a", "prefill", 0, 4), linear=9),
        step(10, ("a", "decode", 4, 1), linear=9),
        step(25, ("b", "prefill", 0, 8), linear=9),
    ]
    assert parts_ms("b", 3, 35, steps) == {"queue": 22.0, "own_prefill": 10.0}


def test_host_is_what_own_steps_do_beside_the_model_and_the_gaps_between_them() -> None:
    """Two chunks of a prompt. Each step: 1 schedule, 2 prepare, 4 model, 1 sample, 2 host; 3 ms
    between the steps. The token is ready after sampling: the last 2 ms are not in the TTFT."""
    busy = partial(step, schedule=1, prepare=2, attention=1, linear=3, sample=1, host=2)
    steps = [
        busy(0, ("a", "prefill", 0, 8)),
        busy(13, ("a", "prefill", 8, 2)),
        busy(23, ("a", "decode", 10, 1)),
    ]
    # 1 + 2 + 1 + 2, the gap of 3, 1 + 2 + 1.
    assert parts_ms("a", 0, 21, steps) == {"own_prefill": 8.0, "host": 13.0}
    # From token to token: the 2 ms of host work after the first, then 1 + 2 and 1.
    assert parts_ms("a", 21, 31, steps) == {"decode": 4.0, "host": 6.0}


def test_a_mixed_step_is_told_apart_by_what_decode_only_steps_take() -> None:
    """Eight decode-only steps of 10 ms; then 30 ms with 60 prompt tokens of b and 20 of c: the
    decode of a would have taken 10, the prompts cost 20, of which b has 15 and c 5."""
    steps = [step(10 * at, ("a", "decode", at, 1), linear=9) for at in range(8)]
    prompts: list[Chunk] = [("b", "prefill", 0, 60), ("c", "prefill", 0, 20)]
    steps.append(step(80, *prompts, ("a", "decode", 8, 1), linear=29))
    assert parts_ms("a", 80, 110, steps) == {"decode": 10.0, "others_prefill": 20.0}
    assert parts_ms("b", 80, 110, steps) == {
        "own_prefill": 15.0,
        "others_prefill": 5.0,
        "decode": 10.0,
    }


def test_a_mixed_step_without_evidence_is_told_apart_by_tokens() -> None:
    """No decode-only step: 4 decodes and 12 prompt tokens share 32 ms as 8 and 24."""
    decodes: list[Chunk] = [(f"d{at}", "decode", 5, 1) for at in range(4)]
    steps = [step(0, ("p", "prefill", 0, 12), *decodes, linear=31)]
    assert parts_ms("d0", 0, 32, steps) == {"decode": 8.0, "others_prefill": 24.0}
    assert parts_ms("p", 0, 32, steps) == {"decode": 8.0, "own_prefill": 24.0}


def test_a_prompt_step_that_makes_a_decode_wait_is_others_prefill_whole() -> None:
    """Separate batching: a's tokens at 10 and 45; b's prompt step from 12 to 32 in between, its
    schedule and host time included; 2 ms before it and 3 after are the loop's."""
    steps = [
        step(0, ("a", "prefill", 0, 4), linear=9),
        step(12, ("b", "prefill", 0, 9), schedule=3, linear=12, host=4),
        step(35, ("a", "decode", 4, 1), ("b", "decode", 9, 1), linear=9),
    ]
    assert parts_ms("a", 10, 45, steps) == {"others_prefill": 20.0, "host": 5.0, "decode": 10.0}


def test_a_request_that_is_not_chosen_while_others_decode_queues() -> None:
    """a's tokens at 10 and 30; b decodes alone from 10 to 20."""
    steps = [
        step(0, ("a", "prefill", 0, 4), linear=9),
        step(10, ("b", "decode", 4, 1), linear=9),
        step(20, ("a", "decode", 4, 1), linear=9),
    ]
    assert parts_ms("a", 10, 30, steps) == {"queue": 10.0, "decode": 10.0}


def test_preemption_lasts_until_what_was_lost_is_computed_again() -> None:
    """a has 4 prompt tokens and its first token at 10. Then:
    10-20 a's prompt of another: it waits (others' prefill).
    20-30 a step preempts it. 30-40 it computes [0, 3) again; 40-50 another's prompt runs.
    50-60 it computes [3, 5): one token again, one new, and the step's 10 ms are halved."""
    steps = [
        step(0, ("a", "prefill", 0, 4), linear=9),
        step(10, ("b", "prefill", 0, 4), linear=9),
        step(20, ("b", "decode", 4, 1), linear=9, preempted=["a"]),
        step(30, ("a", "prefill", 0, 3), linear=8, host=1),
        step(40, ("c", "prefill", 0, 4), linear=9),
        step(50, ("a", "prefill", 3, 2), linear=7, schedule=2),
    ]
    assert parts_ms("a", 10, 60, steps) == {
        "others_prefill": 10.0,
        "preemption": 10.0 + 10.0 + 10.0 + 5.0,
        "own_prefill": 4.0,
        "host": 1.0,
    }


def test_a_request_that_comes_back_with_its_tokens_was_preempted_until_then() -> None:
    """As after a swap: nothing is computed again, 10 to 30 is the preemption."""
    steps = [
        step(0, ("a", "prefill", 0, 4), linear=9),
        step(10, ("b", "decode", 4, 1), linear=9, preempted=["a"]),
        step(20, ("b", "decode", 5, 1), linear=9),
        step(30, ("a", "decode", 4, 1), linear=9),
    ]
    assert parts_ms("a", 10, 40, steps) == {"preemption": 20.0, "decode": 10.0}


def test_a_prompt_preempted_half_way_pays_for_its_first_half_twice() -> None:
    """[0, 6) of 8 tokens, lost, then [0, 8) in 16 ms: 12 are the preemption's, 4 its own."""
    steps = [
        step(0, ("a", "prefill", 0, 6), linear=9),
        step(10, ("b", "decode", 4, 1), linear=9, preempted=["a"]),
        step(20, ("a", "prefill", 0, 8), linear=15),
    ]
    assert parts_ms("a", 0, 36, steps) == {"own_prefill": 10.0 + 4.0, "preemption": 10.0 + 12.0}


def test_who_stands_behind_tokens_computed_again_pays_for_the_preemption_too() -> None:
    """a decodes throughout. 10-20 a step of b's 4 prompt tokens, of which b had computed 3: the
    step would have been a quarter. 20-40 mixed, told apart by tokens: a's decode has 2 of 20 ms, b
    has 6 tokens of which 2 again, c has 3 new ones."""
    steps = [
        step(0, ("a", "prefill", 0, 4), linear=9),
        step(10, ("b", "prefill", 0, 4), linear=9, again=[3]),
        step(
            20,
            ("b", "prefill", 4, 6),
            ("c", "prefill", 0, 3),
            ("a", "decode", 4, 1),
            linear=19,
            again=[2],
        ),
    ]
    assert parts_ms("a", 10, 40, steps) == {
        "preemption": 7.5 + 4.0,
        "others_prefill": 2.5 + 14.0,
        "decode": 2.0,
    }
    # c queued until its step; b's lost tokens are not its prompt's price.
    assert parts_ms("c", 20, 40, steps) == {
        "own_prefill": 6.0,
        "others_prefill": 8.0,
        "preemption": 4.0,
        "decode": 2.0,
    }


def test_time_that_no_phase_accounts_for_is_the_residual() -> None:
    steps = [step(0, ("a", "prefill", 0, 6), linear=3, unexplained=6)]
    assert parts_ms("a", 0, 10, steps) == {"own_prefill": 4.0, "residual": 6.0}


def test_without_attention_time_the_device_is_waited_for_while_sampling() -> None:
    steps = [step(0, ("a", "prefill", 0, 6), prepare=1, attention=0, linear=2, sample=7)]
    assert parts_ms("a", 0, 10, steps) == {"own_prefill": 9.0, "host": 1.0}


def test_where_steps_overlap_the_time_is_the_earlier_ones() -> None:
    """0-10 and 6-16: the second has 10-16, the end of its model time."""
    steps = [
        step(0, ("a", "prefill", 0, 6), linear=9),
        step(6, ("b", "prefill", 0, 6), schedule=4, linear=5),
    ]
    assert parts_ms("b", 0, 16, steps) == {"queue": 10.0, "own_prefill": 6.0}


def test_a_sample_counts_its_requests_prompt_as_its_own() -> None:
    """r0 computes the prompt for both; r0#1 decodes at its end. r0's later recompute is not its."""
    steps = [
        step(0, ("r0", "prefill", 0, 4), linear=9),
        step(10, ("r0", "decode", 4, 1), ("r0#1", "decode", 4, 1), linear=9),
        step(20, ("r0", "prefill", 0, 5), linear=9),
        step(30, ("r0#1", "decode", 5, 1), linear=9),
    ]
    assert parts_ms("r0#1", 0, 10, steps) == {"own_prefill": 10.0}
    assert parts_ms("r0#1", 10, 40, steps) == {"decode": 20.0, "others_prefill": 10.0}


def test_an_interval_without_any_step_is_queue_only_where_a_step_follows() -> None:
    assert parts_ms("a", 0, 5, []) == {"host": 5.0}
    assert parts_ms("a", 0, 5, [step(5, ("a", "prefill", 0, 1))]) == {"queue": 5.0}


def _intervals(records: Sequence[RequestRecord]) -> Intervals:
    """TTFT and every gap of every request, finished or not."""
    rows = [
        (at, before, after)
        for at, record in enumerate(records)
        for before, after in zip(
            (record.t_due_s, *record.token_times_s), record.token_times_s, strict=False
        )
    ]
    columns = np.array(rows, dtype=np.float64).reshape(len(rows), 3)
    return Intervals(columns[:, 0].astype(np.int64), columns[:, 1], columns[:, 2])


@given(SEEDS)
@settings(max_examples=100, deadline=None)
def test_the_fast_path_is_the_definition(seed: int) -> None:
    records, steps = random_run(seed)
    intervals = _intervals(records)
    found = partition(timeline_of_traces([one.request_id for one in records], steps), intervals)
    for at in range(len(intervals)):
        expected = reference_parts(
            records[int(intervals.request[at])].request_id,
            ms(intervals.start_s[at]),
            ms(intervals.end_s[at]),
            steps,
        )
        named = dict(zip(PARTS, (found[at] / MS).tolist(), strict=True))
        assert named == pytest.approx(expected, abs=1e-6)


@given(SEEDS)
@settings(max_examples=100, deadline=None)
def test_parts_are_the_whole_and_none_is_negative(seed: int) -> None:
    """Without time that phases leave out, the residual is nothing."""
    records, steps = random_run(seed)
    explained = [one for one in steps if ms(one.end_s) - ms(one.start_s) == _phases_ms(one)]
    intervals = _intervals(records)
    found = partition(timeline_of_traces([one.request_id for one in records], steps), intervals)
    residual_s = found[:, PARTS.index("residual")]
    assert found.sum(axis=1) == pytest.approx(intervals.length_s, rel=1e-12, abs=1e-15)
    assert (np.delete(found, PARTS.index("residual"), axis=1) >= 0).all()
    assert (residual_s >= -1e-9).all()
    if len(explained) == len(steps):
        assert residual_s == pytest.approx(0, abs=1e-9)


def _phases_ms(step: StepTrace) -> int:
    times = step.phases
    return ms(times.schedule_s + times.prepare_s + times.attention_s) + ms(
        times.linear_s + times.sample_s + times.host_s
    )


@given(SEEDS)
@settings(max_examples=30, deadline=None)
def test_a_stored_table_gives_what_the_traces_gave(seed: int) -> None:
    records, steps = random_run(seed)
    names, intervals = [one.request_id for one in records], _intervals(records)
    live = partition(timeline_of_traces(names, steps), intervals)
    stored = partition(timeline_of_tables(names, steps_frame(records, steps)), intervals)
    np.testing.assert_array_equal(stored, live)


def test_a_long_run_is_split_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    records, steps = random_run(11)
    intervals = _intervals(records)
    assert len(intervals) > 3
    timeline = timeline_of_traces([one.request_id for one in records], steps)
    whole = partition(timeline, intervals)
    monkeypatch.setattr(partition_module, "BLOCK_CHUNKS", 2)
    np.testing.assert_array_equal(partition(timeline, intervals), whole)
