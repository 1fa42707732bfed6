"""A step prepared while another runs changes when a token is seen, and never which token."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llmbench.engines.api import FinishReason
from llmbench.engines.executors.base import StepResult
from llmbench.engines.kv.base import Move
from llmbench.engines.kv.paged import PagedKVCache
from llmbench.engines.pipeline import Core, PipelinedCore
from llmbench.engines.trace import PhaseTimes, StepTrace

from .drive import LateExecutor, Run, drive, make_core, make_request
from .test_invariants import (
    COMBINATIONS,
    Load,
    arrivals_of,
    check_blocks,
    check_idle,
    kv_settings,
    loads,
    pools,
    requests_of,
)

# Token values lie below 97, so this many of them end an output early now and then.
ends_of_text = st.sets(st.integers(0, 96), max_size=24).map(lambda ids: tuple(sorted(ids)))
synchronous_steps = st.sets(st.integers(0, 20), max_size=6)
all_combinations = pytest.mark.parametrize(("batching", "admission", "kv"), COMBINATIONS)


def executor_of(core: Core) -> LateExecutor:
    assert isinstance(core, PipelinedCore)
    assert isinstance(core._executor, LateExecutor)
    return core._executor


def ends_of(run: Run) -> dict[tuple[str, int], FinishReason]:
    ends = [(event.request_id, event.choice, event.finish) for event in run.events if event.finish]
    assert len({(name, choice) for name, choice, _ in ends}) == len(ends)
    return {(name, choice): finish for name, choice, finish in ends}


def check_step(core: Core, step: StepTrace) -> None:
    """As `test_invariants.check_step`, but that who leaves stands in no queue and holds nothing."""
    assert isinstance(core, PipelinedCore)
    limits, kv, queues = core.strategy.limits, core.strategy.kv, core._ledger.queues
    assert step.prefill_tokens + step.decode_tokens <= limits.max_num_batched_tokens
    assert step.running <= limits.max_num_seqs
    assert queues.seats <= limits.max_num_seqs
    assert 0 <= step.kv.used_tokens <= step.kv.held_tokens <= step.kv.capacity_tokens
    live = Counter(state for states in core._ledger._live.values() for state in states)
    standing = Counter([*queues.waiting, *queues.running, *queues.swapped])
    assert standing + Counter(core._ledger._departed) == live
    assert queues.unforked == sum(state.samples - 1 for state in queues.running)
    if isinstance(kv, PagedKVCache):
        check_blocks(core, kv)
        leaving = {state.request_id for state in core._ledger._departed}
        assert not leaving & set(kv._tables)


def schedule_of(run: Run) -> list[StepTrace]:
    """The steps without what is measured, or only a pipeline has."""
    plain = StepTrace.__dataclass_fields__["phases"].default_factory
    return [
        replace(step, start_s=0.0, end_s=0.0, phases=plain(), synchronous="") for step in run.steps
    ]


@all_combinations
@settings(max_examples=25, deadline=None)
@given(load=loads, pool=pools, data=st.data())
def test_where_lengths_end_outputs_the_schedule_is_the_synchronous_one(
    batching, admission, kv, load: Load, pool, data
) -> None:
    options = data.draw(kv_settings(admission, kv))
    requests = requests_of(load, shared=9)
    plain = drive(make_core(batching, admission, kv, pool_tokens=pool, **options), requests)
    core = make_core(batching, admission, kv, pool_tokens=pool, late={}, **options)
    run = drive(core, requests, after_step=check_step)
    assert schedule_of(run) == schedule_of(plain)
    assert not any(step.dropped for step in run.steps)
    assert [event[:2] for event in run.events] == [event[:2] for event in plain.events]
    check_idle(core)
    if len(run.steps) > 1:
        assert executor_of(core).most_in_flight == 2


@pytest.mark.parametrize(("when", "found"), [(3, (4, 4)), (4, (8, 4)), (5, (8, 8))])
def test_a_block_that_ends_with_the_token_to_come_is_found_a_step_later(
    when: int, found: tuple[int, int]
) -> None:
    """b's prompt is a's with four tokens of its answer, of which the fourth is computed in step 4.
    found: how many tokens b finds that starts in step `when`, in step and ahead."""
    first = make_request("a", 4, 6)
    said = drive(make_core(), [first]).tokens("a")
    second = replace(
        make_request("b", 9, 2), prompt_token_ids=(*first.prompt_token_ids, *said[:4], 1)
    )
    seen: list[int] = []
    for late, come in ((None, when), ({}, when - 1)):
        core = make_core("unified", kv_options={"prefix_cache": True}, late=late)
        run = drive(core, [first], arrivals={come: [second]})
        assert [one.request_id for one in run.steps[when].chunks] == ["b", "a"]
        seen.append(run.steps[when].chunks[0].cached_tokens)
    assert tuple(seen) == found


@all_combinations
@settings(max_examples=25, deadline=None)
@given(load=loads, pool=pools, eos=ends_of_text, synchronous=synchronous_steps, data=st.data())
def test_no_token_changes_when_outputs_end_early(
    batching, admission, kv, load: Load, pool, eos, synchronous, data
) -> None:
    options = data.draw(kv_settings(admission, kv))
    late = {"synchronous": synchronous}
    core = make_core(batching, admission, kv, pool_tokens=pool, late=late, eos=eos, **options)
    run = drive(core, arrivals=arrivals_of(load, shared=9), after_step=check_step)
    ends = ends_of(run)
    assert len(ends) == sum(n for _, _, _, n, _ in load)
    assert FinishReason.ERROR not in ends.values()
    for request in requests_of(load, shared=9):
        name = request.request_id
        alone = drive(make_core(pool_tokens=256, max_num_batched_tokens=64, eos=eos), [request])
        for choice in range(request.sampling.n):
            # One that was swapped out may be refused its way back.
            if ends[name, choice] is FinishReason.REFUSED:
                continue
            assert run.tokens(name, choice) == alone.tokens(name, choice)
            assert ends[name, choice] is ends_of(alone)[name, choice]
    check_idle(core)
    assert executor_of(core).in_flight == 0


@all_combinations
@settings(max_examples=20, deadline=None)
@given(
    load=loads,
    pool=pools,
    eos=ends_of_text,
    victim=st.integers(0, 7),
    when=st.integers(0, 20),
    data=st.data(),
)
def test_abort_between_steps_leaks_nothing(
    batching, admission, kv, load: Load, pool, eos, victim, when, data
) -> None:
    options = data.draw(kv_settings(admission, kv))
    core = make_core(batching, admission, kv, pool_tokens=pool, late={}, eos=eos, **options)
    name = f"{chr(97 + victim)}{victim}"
    again = make_request(name, 5, 3)

    def abort(engine: Core, step: StepTrace) -> None:
        if step.index == when:
            engine.abort(name)
            # A new request may have the name at once, whatever of the old one is in flight.
            engine.add(again)
        check_step(engine, step)

    run = drive(core, requests_of(load, shared=9), after_step=abort)
    check_idle(core)
    if len(run.steps) > when:
        expected = drive(make_core(pool_tokens=256, eos=eos), [again]).tokens(name)
        assert run.tokens(name)[-len(expected) :] == expected
    others = [one for one in requests_of(load, shared=9) if one.request_id != name]
    ends = ends_of_others(run, name)
    assert set(ends) == {(o.request_id, c) for o in others for c in range(o.sampling.n)}


def test_a_step_that_swaps_says_for_how_long() -> None:
    """Each step is waited for for a second. Of the one that swaps out the executor says that 0.25 s
    went to it, of the one that swaps in 9 s: more than that second cannot have been waited for it.
    """
    core = make_core(
        pool_tokens=16,
        admission_options={"watermark": 0.0, "preemption": "swap"},
        kv_options={"host_blocks": 8},
        late={},
    )
    executor, said = executor_of(core), iter((0.25, 9.0))
    compute = executor.compute

    def swapping(chunks: Any, layout: Any, moves: Sequence[Move], unit_tokens: int) -> StepResult:
        result = compute(chunks, layout, moves, unit_tokens)
        if all(move.kind == "copy" for move in moves):
            return result
        return replace(result, times=PhaseTimes(swap_s=next(said)))

    executor.compute = swapping  # type: ignore[method-assign]
    run = drive(core, [make_request("a", 4, 10), make_request("b", 4, 8)])
    out = next(step for step in run.steps if step.swapped_out)
    back = next(step for step in run.steps if step.swapped_in)
    assert (out.phases.swap_s, back.phases.swap_s) == (0.25, 1.0)
    for step in run.steps:
        assert (step.phases.swap_s > 0) == (step in (out, back))
        assert step.phases.linear_s + step.phases.swap_s == 1.0


def ends_of_others(run: Run, name: str) -> dict[tuple[str, int], FinishReason]:
    kept = Run(run.steps, [event for event in run.events if event.request_id != name])
    return ends_of(kept)


@all_combinations
@settings(max_examples=20, deadline=None)
@given(
    load=loads,
    pool=pools,
    where=st.sampled_from(["fail_at", "refuses"]),
    when=st.integers(0, 12),
    data=st.data(),
)
def test_a_step_that_fails_ends_its_requests_and_the_others_finish(
    batching, admission, kv, load: Load, pool, where, when, data
) -> None:
    """At its result, or as it is submitted."""
    options: dict[str, Any] = data.draw(kv_settings(admission, kv))
    if where == "fail_at":
        options |= {"fail_at": when, "late": {}}
    else:
        options |= {"late": {"refuses": when}}
    core = make_core(batching, admission, kv, pool_tokens=pool, **options)
    run = drive(core, arrivals=arrivals_of(load, shared=9), after_step=check_step)
    ends = ends_of(run)
    assert len(ends) == sum(n for _, _, _, n, _ in load)
    failed = {name for (name, _), finish in ends.items() if finish is FinishReason.ERROR}
    for step in run.steps:
        if step.failed:
            assert {one.request_id.partition("#")[0] for one in step.chunks} <= failed
    for event in run.events:
        if event.finish is FinishReason.ERROR:
            assert event.detail == "RuntimeError: the device is on fire"
    for request in requests_of(load, shared=9):
        alone = drive(make_core(pool_tokens=256, max_num_batched_tokens=64), [request])
        for choice in range(request.sampling.n):
            if ends[request.request_id, choice] is not FinishReason.LENGTH:
                continue
            tokens = alone.tokens(request.request_id, choice)
            assert run.tokens(request.request_id, choice) == tokens
    check_idle(core)
