"""What must hold for every combination of the axes, whatever arrives and whenever."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llmbench.engines.core import EngineCore
from llmbench.engines.kv.paged import PagedKVCache
from llmbench.engines.trace import StepTrace

from .drive import ADMISSION, BATCHING, drive, make_core, make_request

COMBINATIONS = [
    (batching, admission, kv)
    for batching in BATCHING
    for admission in ADMISSION
    for kv in ("paged", "contiguous")
]

lengths = st.tuples(st.integers(1, 20), st.integers(1, 12), st.integers(0, 25))
loads = st.lists(lengths, min_size=1, max_size=8)
pools = st.sampled_from([32, 36, 48, 64, 128])


def arrivals_of(load: list[tuple[int, int, int]]):
    arrivals: dict[int, list] = {}
    for index, (prompt, output, step) in enumerate(load):
        arrivals.setdefault(step, []).append(
            make_request(f"{chr(97 + index)}{index}", prompt, output, float(step))
        )
    return arrivals


def check_step(core: EngineCore, step: StepTrace) -> None:
    limits, kv = core.strategy.limits, core.strategy.kv
    tokens = step.prefill_tokens + step.decode_tokens
    assert tokens <= limits.max_num_batched_tokens
    assert step.running <= limits.max_num_seqs
    per_request = Counter(chunk.request_id for chunk in step.chunks)
    assert set(per_request.values()) <= {1}
    assert step.kv.held_tokens <= step.kv.capacity_tokens
    for holding in step.kv.holdings:
        assert 0 <= holding.used_tokens <= holding.held_tokens
    phases = step.phases
    assert sum(vars(phases).values()) == pytest.approx(step.end_s - step.start_s)
    if isinstance(kv, PagedKVCache):
        check_blocks(core, kv)


def check_blocks(core: EngineCore, kv: PagedKVCache) -> None:
    held = [block for table in kv._tables.values() for block in table]
    assert len(held) == len(set(held)), "a block held twice"
    assert len(held) + kv.free_units == kv.total_units
    assert set(kv._tables) <= set(core._live)


@pytest.mark.parametrize(("batching", "admission", "kv"), COMBINATIONS)
@settings(max_examples=60, deadline=None)
@given(load=loads, pool=pools)
def test_every_request_ends_and_nothing_leaks(batching, admission, kv, load, pool) -> None:
    core = make_core(batching, admission, kv, pool_tokens=pool)
    run = drive(core, arrivals=arrivals_of(load), after_step=check_step)
    ends = Counter(event.request_id for event in run.events if event.finish)
    assert set(ends.values()) == {1}
    assert len(ends) == len(load)
    assert core.strategy.kv.free_units == core.strategy.kv.total_units


@pytest.mark.parametrize(("batching", "admission", "kv"), COMBINATIONS)
@settings(max_examples=30, deadline=None)
@given(load=loads, pool=pools, budget=st.sampled_from([24, 32]))
def test_tokens_do_not_depend_on_the_schedule(batching, admission, kv, load, pool, budget) -> None:
    core = make_core(batching, admission, kv, pool_tokens=pool, max_num_batched_tokens=budget)
    run = drive(core, arrivals=arrivals_of(load))
    refused = {event.request_id for event in run.events if event.token_id is None}
    for request in (request for batch in arrivals_of(load).values() for request in batch):
        if request.request_id in refused:
            continue
        alone = drive(make_core(pool_tokens=128, max_num_batched_tokens=64), [request])
        assert run.tokens(request.request_id) == alone.tokens(request.request_id)
        assert len(alone.tokens(request.request_id)) == request.sampling.max_tokens


@settings(max_examples=60, deadline=None)
@given(load=loads, pool=pools)
@pytest.mark.parametrize("kv", ["paged", "contiguous"])
@pytest.mark.parametrize("batching", list(BATCHING))
def test_reserve_never_preempts(batching, kv, load, pool) -> None:
    core = make_core(batching, "reserve", kv, pool_tokens=pool)
    run = drive(core, arrivals=arrivals_of(load))
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
@given(load=loads, pool=pools, victim=st.integers(0, 7), when=st.integers(0, 20))
def test_abort_at_any_step_leaks_nothing(batching, admission, kv, load, pool, victim, when) -> None:
    core = make_core(batching, admission, kv, pool_tokens=pool)
    name = f"{chr(97 + victim)}{victim}"

    def abort(engine: EngineCore, step: StepTrace) -> None:
        if step.index == when:
            engine.abort(name)
        check_step(engine, step)

    run = drive(core, arrivals=arrivals_of(load), after_step=abort)
    assert core.strategy.kv.free_units == core.strategy.kv.total_units
    last_step = {chunk.request_id: step.index for step in run.steps for chunk in step.chunks}
    if name in last_step and not any(e.finish and e.request_id == name for e in run.events):
        assert last_step[name] <= when


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
    """With one length for all, requests get their first token in the order they came."""
    same = [(6, 4, step) for _, _, step in load]
    run = drive(make_core(batching, admission, pool_tokens=64), arrivals=arrivals_of(same))
    due = {r.request_id: r.arrival_s for batch in arrivals_of(same).values() for r in batch}
    firsts = list(dict.fromkeys(event.request_id for event in run.events))
    assert [due[name] for name in firsts] == sorted(due.values())
