"""What must hold for every combination of the axes, whatever arrives and whenever."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llmbench.engines.api import FinishReason, Request
from llmbench.engines.kv.contiguous import ContiguousKVCache
from llmbench.engines.kv.paged import PagedKVCache
from llmbench.engines.ledger import NO_DISTRIBUTION
from llmbench.engines.pipeline import Core
from llmbench.engines.trace import StepTrace

from .drive import ADMISSION, BATCHING, CountingExecutor, drive, make_core, make_request

COMBINATIONS = [
    (batching, admission, kv)
    for batching in BATCHING
    for admission in ADMISSION
    for kv in ("paged", "contiguous")
]

# Prompt, output, arrival step, samples, priority.
shapes = st.tuples(
    st.integers(1, 20),
    st.integers(1, 12),
    st.integers(0, 25),
    st.sampled_from([1, 1, 1, 2, 3]),
    st.sampled_from([0, 0, 0, 1]),
)
loads = st.lists(shapes, min_size=1, max_size=8)
Load = list[tuple[int, int, int, int, int]]
pools = st.sampled_from([32, 36, 48, 64, 128])


@st.composite
def kv_settings(draw: st.DrawFn, admission: str, kv: str) -> dict[str, Any]:
    """How the cache is set up, and what preemption does."""
    if kv == "contiguous":
        return {
            "kv_options": {
                "reservation": draw(st.sampled_from(["max", "pow2", "oracle"])),
                "arena": draw(st.sampled_from(["first-fit", "buddy"])),
            }
        }
    options: dict[str, Any] = {
        "kv_options": {
            "prefix_cache": draw(st.booleans()),
            "host_blocks": draw(st.sampled_from([0, 4, 40])),
        },
        "block_size": draw(st.sampled_from([1, 4])),
    }
    if admission == "optimistic":
        preemption = draw(st.sampled_from(["recompute", "swap", "auto"]))
        options["admission_options"] = {"preemption": preemption}
    return options


def arrivals_of(load: Load, shared: int = 0) -> dict[int, list[Request]]:
    """shared: tokens that all prompts begin with."""
    arrivals: dict[int, list[Request]] = {}
    for index, (prompt, output, step, n, priority) in enumerate(load):
        arrivals.setdefault(step, []).append(
            make_request(
                f"{chr(97 + index)}{index}",
                prompt,
                output,
                float(step),
                n=n,
                priority=priority,
                shared=min(shared, prompt - 1),
            )
        )
    return arrivals


def requests_of(load: Load, shared: int = 0) -> list[Request]:
    return [request for batch in arrivals_of(load, shared).values() for request in batch]


def check_step(core: Core, step: StepTrace) -> None:
    limits, kv = core.strategy.limits, core.strategy.kv
    tokens = step.prefill_tokens + step.decode_tokens
    assert tokens <= limits.max_num_batched_tokens
    assert step.running <= limits.max_num_seqs
    assert core._ledger.queues.seats <= limits.max_num_seqs
    per_request = Counter(chunk.request_id for chunk in step.chunks)
    assert set(per_request.values()) <= {1}
    assert 0 <= step.kv.used_tokens <= step.kv.held_tokens <= step.kv.capacity_tokens
    for holding in step.kv.holdings:
        assert 0 <= holding.used_tokens <= holding.held_tokens
    assert sum(asdict(step.phases).values()) == pytest.approx(step.end_s - step.start_s)
    check_queues(core)
    if isinstance(kv, PagedKVCache):
        check_blocks(core, kv)
    elif isinstance(kv, ContiguousKVCache):
        check_runs(kv)


def check_queues(core: Core) -> None:
    """Every live sequence stands in exactly one queue, and seats are counted right."""
    queues = core._ledger.queues
    standing = Counter([*queues.waiting, *queues.running, *queues.swapped])
    live = [state for states in core._ledger._live.values() for state in states]
    assert standing == Counter(live)
    assert queues.unforked == sum(state.samples - 1 for state in queues.running)


def check_blocks(core: Core, kv: PagedKVCache) -> None:
    """free + held = total on both sides, and every count equals its holders."""
    live = {state for states in core._ledger._live.values() for state in states}
    assert set(kv._tables) | set(kv._host_tables) <= live
    for pool, tables in ((kv.pool, kv._tables), (kv.host, kv._host_tables)):
        held = Counter(block for table in tables.values() for block in table)
        assert [held[block] for block in range(pool.num_blocks)] == pool.refs
        assert len(held) + pool.free_blocks == pool.num_blocks
        assert pool.extra_refs == sum(held.values()) - len(held)
        assert pool.cached_blocks == len(pool._content.keys() & pool._free.keys())


def check_runs(kv: ContiguousKVCache) -> None:
    runs = [*kv._runs.values(), *(run for runs in kv._unborn.values() for run in runs)]
    taken = sorted((run.start, run.end) for run in runs)
    assert all(end <= start for (_, end), (start, _) in pairwise(taken))
    assert sum(run.length for run in runs) + kv.free_units == kv.total_units


def check_idle(core: Core) -> None:
    """With nobody left, everything is free, here and on the host."""
    kv = core.strategy.kv
    assert kv.free_units == kv.total_units
    if isinstance(kv, PagedKVCache):
        assert kv.host.free_blocks == kv.host.num_blocks
        assert not kv._shared_tails
    assert not core._ledger.queues.unforked


@pytest.mark.parametrize(("batching", "admission", "kv"), COMBINATIONS)
@settings(max_examples=50, deadline=None)
@given(load=loads, pool=pools, budget=st.sampled_from([4, 6, 12, 32]), data=st.data())
def test_every_request_ends_and_nothing_leaks(
    batching, admission, kv, load, pool, budget, data
) -> None:
    options = data.draw(kv_settings(admission, kv))
    core = make_core(
        batching, admission, kv, pool_tokens=pool, max_num_batched_tokens=budget, **options
    )
    run = drive(core, arrivals=arrivals_of(load, shared=9), after_step=check_step)
    ends = Counter((event.request_id, event.choice) for event in run.events if event.finish)
    assert set(ends.values()) == {1}
    assert len(ends) == sum(n for _, _, _, n, _ in load)
    check_idle(core)


@pytest.mark.parametrize(("batching", "admission", "kv"), COMBINATIONS)
@settings(max_examples=40, deadline=None)
@given(load=loads, pool=pools, budget=st.sampled_from([24, 32]), data=st.data())
def test_tokens_do_not_depend_on_the_schedule(
    batching, admission, kv, load, pool, budget, data
) -> None:
    options = data.draw(kv_settings(admission, kv))
    core = make_core(
        batching, admission, kv, pool_tokens=pool, max_num_batched_tokens=budget, **options
    )
    run = drive(core, arrivals=arrivals_of(load, shared=9))
    refused = {event.request_id for event in run.events if event.finish is FinishReason.REFUSED}
    for request in requests_of(load, shared=9):
        if request.request_id in refused:
            continue
        alone = drive(make_core(pool_tokens=256, max_num_batched_tokens=64), [request])
        for choice in range(request.sampling.n):
            tokens = alone.tokens(request.request_id, choice)
            assert run.tokens(request.request_id, choice) == tokens
            assert len(tokens) == request.sampling.max_tokens


few = st.tuples(
    st.integers(1, 8), st.integers(4, 8), st.integers(0, 3), st.integers(1, 4), st.just(0)
)


@pytest.mark.parametrize("batching", list(BATCHING))
@settings(max_examples=60, deadline=None)
@given(
    load=st.lists(few, min_size=1, max_size=3), pool=st.sampled_from([16, 20, 24]), data=st.data()
)
def test_nobody_who_has_begun_is_refused(batching, load, pool, data) -> None:
    """The pool just holds any one sequence to its end, and a step recomputes any."""
    options = data.draw(kv_settings("optimistic", "paged"))
    core = make_core(batching, pool_tokens=pool, max_model_len=16, **options)
    run = drive(core, arrivals=arrivals_of(load), after_step=check_step)
    began = {event.request_id for event in run.events if event.token_id is not None}
    refused = {event.request_id for event in run.events if event.finish is FinishReason.REFUSED}
    assert not began & refused
    for request in requests_of(load):
        if request.request_id in refused:
            continue
        alone = drive(make_core(pool_tokens=256), [request])
        for choice in range(request.sampling.n):
            tokens = run.tokens(request.request_id, choice)
            assert tokens == alone.tokens(request.request_id, choice)
    check_idle(core)


@settings(max_examples=60, deadline=None)
@given(load=loads, pool=pools, data=st.data())
@pytest.mark.parametrize("kv", ["paged", "contiguous"])
@pytest.mark.parametrize("batching", list(BATCHING))
def test_reserve_never_preempts(batching, kv, load, pool, data) -> None:
    options = data.draw(kv_settings("reserve", kv))
    core = make_core(batching, "reserve", kv, pool_tokens=pool, **options)
    run = drive(core, arrivals=arrivals_of(load, shared=9))
    assert not any(step.preempted for step in run.steps)


@settings(max_examples=60, deadline=None)
@given(load=loads, pool=pools)
@pytest.mark.parametrize("admission", list(ADMISSION))
@pytest.mark.parametrize("batching", ["separate", "static"])
def test_separate_and_static_never_mix(batching, admission, load, pool) -> None:
    run = drive(make_core(batching, admission, pool_tokens=pool), arrivals=arrivals_of(load))
    assert not any(step.prefill_tokens and step.decode_tokens for step in run.steps)


@pytest.mark.parametrize(("batching", "admission", "kv"), COMBINATIONS)
@settings(max_examples=30, deadline=None)
@given(load=loads, pool=pools, victim=st.integers(0, 7), when=st.integers(0, 20), data=st.data())
def test_abort_at_any_step_leaks_nothing(
    batching, admission, kv, load, pool, victim, when, data
) -> None:
    options = data.draw(kv_settings(admission, kv))
    core = make_core(batching, admission, kv, pool_tokens=pool, **options)
    name = f"{chr(97 + victim)}{victim}"

    def abort(engine: Core, step: StepTrace) -> None:
        if step.index == when:
            engine.abort(name)
        check_step(engine, step)

    run = drive(core, arrivals=arrivals_of(load, shared=9), after_step=abort)
    check_idle(core)
    computed = {chunk.request_id: step.index for step in run.steps for chunk in step.chunks}
    ended = {e.request_id for e in run.events if e.finish}
    for sequence, last_step in computed.items():
        if sequence.partition("#")[0] == name and name not in ended:
            assert last_step <= when


@pytest.mark.parametrize(("batching", "admission", "kv"), COMBINATIONS)
@settings(max_examples=30, deadline=None)
@given(load=loads, pool=pools, when=st.integers(0, 12), data=st.data())
def test_a_step_that_fails_ends_its_requests_and_the_others_finish(
    batching, admission, kv, load, pool, when, data
) -> None:
    options = data.draw(kv_settings(admission, kv))
    core = make_core(batching, admission, kv, pool_tokens=pool, fail_at=when, **options)
    run = drive(core, arrivals=arrivals_of(load, shared=9), after_step=check_step)
    failed = {event.request_id for event in run.events if event.finish is FinishReason.ERROR}
    touched = {
        name.partition("#")[0]
        for step in run.steps
        if step.failed
        for name in (*step.chunks.request_ids, *step.swapped_out)
    }
    # Beyond them, only samples whose copy of the prompt was in the step's moves.
    assert touched <= failed
    samples = {request.request_id: request.sampling.n for request in requests_of(load, shared=9)}
    assert all(kv == "contiguous" and samples[name] > 1 for name in failed - touched)
    ends = Counter((event.request_id, event.choice) for event in run.events if event.finish)
    assert set(ends.values()) == {1}
    assert len(ends) == sum(n for _, _, _, n, _ in load)
    for event in run.events:
        if event.finish is FinishReason.ERROR:
            assert event.detail == "RuntimeError: the device is on fire"
    check_idle(core)


@pytest.mark.parametrize("late", [None, {}], ids=["in step", "ahead"])
@pytest.mark.parametrize(("batching", "admission", "kv"), COMBINATIONS)
@settings(max_examples=25, deadline=None)
@given(
    load=loads,
    pool=pools,
    when=st.integers(0, 12),
    row=st.sampled_from([0, 0, 1, 2]),
    data=st.data(),
)
def test_logits_without_a_token_end_their_own_request_and_change_no_other(
    batching, admission, kv, late, load, pool, when, row, data
) -> None:
    options = data.draw(kv_settings(admission, kv))
    core = make_core(
        batching, admission, kv, pool_tokens=pool, broken=(when, row), late=late, **options
    )
    run = drive(core, arrivals=arrivals_of(load, shared=9))
    ends = Counter((event.request_id, event.choice) for event in run.events if event.finish)
    assert set(ends.values()) == {1}
    assert len(ends) == sum(n for _, _, _, n, _ in load)
    errors = [event for event in run.events if event.finish is FinishReason.ERROR]
    assert {event.detail for event in errors} <= {f"RuntimeError: {NO_DISTRIBUTION}"}
    assert isinstance(core._executor, CountingExecutor)
    assert len({event.request_id for event in errors}) == core._executor.broke
    failed = [name for step in run.steps for name in step.failed]
    assert failed == [f"{e.request_id}#{e.choice}".removesuffix("#0") for e in errors]
    assert all(token >= 0 for event in run.events if (token := event.token_id) is not None)
    for request in requests_of(load, shared=9):
        name = request.request_id
        alone = drive(make_core(pool_tokens=256, max_num_batched_tokens=64), [request])
        refused = {
            event.choice
            for event in run.events
            if event.request_id == name and event.finish is FinishReason.REFUSED
        }
        for choice in range(request.sampling.n):
            tokens, whole = run.tokens(name, choice), alone.tokens(name, choice)
            assert tokens == whole[: len(tokens)]
            if name not in {event.request_id for event in errors} and choice not in refused:
                assert tokens == whole
    check_idle(core)


@pytest.mark.parametrize(("batching", "admission", "kv"), COMBINATIONS)
@settings(max_examples=20, deadline=None)
@given(load=loads, pool=pools)
def test_the_same_arrivals_give_the_same_schedule(batching, admission, kv, load, pool) -> None:
    runs = [
        drive(make_core(batching, admission, kv, pool_tokens=pool), arrivals=arrivals_of(load))
        for _ in range(2)
    ]
    assert runs[0].steps == runs[1].steps


@settings(max_examples=60, deadline=None)
@given(load=loads)
@pytest.mark.parametrize("admission", list(ADMISSION))
@pytest.mark.parametrize("batching", list(BATCHING))
def test_first_come_first_served(batching, admission, load) -> None:
    """With one length and priority for all, requests get their first token in the order they
    came."""
    same = [(6, 4, step, 1, 0) for _, _, step, _, _ in load]
    run = drive(make_core(batching, admission, pool_tokens=64), arrivals=arrivals_of(same))
    due = {request.request_id: request.arrival_s for request in requests_of(same)}
    firsts = list(dict.fromkeys(event.request_id for event in run.events))
    assert [due[name] for name in firsts] == sorted(due.values())
