"""Random scenarios: the schedule is the one that the engine tests' own driver sees, it accounts for
every request and block, and it is the same every time."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from llmbench.engines.presets import PRESETS
from llmbench.harness.schedule import Scenario, from_json, schedule, to_json

from ...engines.drive import drive, make_core, make_request
from .tables import row, scenario

NAMES = "abcdef"


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario:
    rows = []
    for name in NAMES[: draw(st.integers(1, 5))]:
        prompt, arrival = draw(st.integers(1, 16)), draw(st.integers(0, 6))
        abort = draw(st.none() | st.integers(arrival + 1, 20))
        rows.append(
            row(
                name,
                prompt,
                draw(st.integers(1, 8)),
                arrival,
                n=draw(st.integers(1, 3)),
                priority=draw(st.integers(0, 1)),
                shared_prefix_tokens=draw(st.integers(0, prompt)),
                abort_step=abort,
            )
        )
    return scenario(
        draw(st.sampled_from([preset.name for preset in PRESETS])),
        *rows,
        budget=draw(st.integers(4, 20)),
        seqs=4,
        # The least holds one request of 24 tokens, rounded up by a buddy arena.
        pool_blocks=draw(st.integers(8, 14)),
        host_blocks=draw(st.integers(0, 12)),
    )


@settings(max_examples=150, deadline=None)
@given(scenarios())
def test_every_request_and_block_is_accounted_for(given: Scenario) -> None:
    found = schedule(given)
    limits = given.limits
    assert limits.max_num_seqs is not None
    assert limits.max_num_batched_tokens is not None
    for step in found.steps:
        standing = Counter((*step.waiting, *step.running, *step.on_host))
        assert set(standing.values()) <= {1}, "one sequence in two queues"
        assert step.kv.free + step.kv.held == found.kv_total
        assert max(step.kv.cached, step.kv.external) <= step.kv.free
        assert len(step.running) <= limits.max_num_seqs
        tokens = sum(one.length for one in (*step.prefills, *step.decodes))
        separate = found.settings["batching"] == "separate"
        assert tokens <= limits.max_num_batched_tokens or (separate and not step.prefills)
        # Blocks in the tables are the blocks held: those of samples that were born and ended in
        # this step are in none of them.
        distinct = {block for place in step.kv.places for block in place.blocks}
        if found.kv_unit == "blocks" and all(place.blocks for place in step.kv.places):
            assert len(distinct) == step.kv.held
    assert all(one.ending != "unfinished" for one in found.requests)
    for one, asked in zip(found.requests, given.requests, strict=True):
        if one.ending == "finished":
            tokens = [
                chunk
                for step in found.steps
                for chunk in (*step.prefills, *step.decodes)
                if chunk.request_id.partition("#")[0] == asked.id and chunk.yields_token
            ]
            # The last chunk of the prompt yields the first token of every sample.
            assert len(tokens) == 1 + asked.n * (asked.output_tokens - 1)


@settings(max_examples=60, deadline=None)
@given(scenarios())
def test_two_runs_are_equal_and_survive_being_written(given: Scenario) -> None:
    found = schedule(given)
    text = to_json(found)
    assert to_json(schedule(given)) == text
    assert from_json(text) == found


POLICIES = {
    "paged": ("separate", "optimistic", {}),
    "trtllm": ("inflight", "reserve", {"chunk_unit": 4}),
    "trtllm-max-util": ("inflight", "optimistic", {"chunk_unit": 4}),
    "sarathi": ("sarathi", "optimistic", {}),
    "vllm-v1": ("unified", "optimistic", {"whole_prompt_fits": True}),
}


@settings(max_examples=100, deadline=None)
@given(scenarios(), st.sampled_from(sorted(POLICIES)))
def test_the_engine_tests_driver_sees_the_same_steps(given: Scenario, preset: str) -> None:
    batching, admission, options = POLICIES[preset]
    rows = [one.model_copy(update={"abort_step": None}) for one in given.requests]
    given = given.model_copy(
        update={
            "engine": type(given.engine)(preset=preset),
            "requests": tuple(rows),
            "host_blocks": 0,
        }
    )
    limits = given.limits
    assert limits.max_num_seqs is not None
    assert limits.max_num_batched_tokens is not None
    assert given.pool_blocks is not None
    core = make_core(
        batching,
        admission,
        pool_tokens=4 * given.pool_blocks,
        max_num_seqs=limits.max_num_seqs,
        max_num_batched_tokens=max(limits.max_num_batched_tokens, 4),
        max_model_len=max(one.prompt_tokens + one.output_tokens for one in rows),
        kv_options={"prefix_cache": preset == "vllm-v1"},
        **options,
    )
    arrivals = {}
    for one in rows:
        arrivals.setdefault(one.arrival_step, []).append(
            make_request(
                one.id,
                one.prompt_tokens,
                one.output_tokens,
                n=one.n,
                priority=one.priority,
                shared=one.shared_prefix_tokens,
            )
        )
    assert schedule(given).lines == drive(core, arrivals=arrivals).table()
