"""What must hold under any mixture of the settings that a policy reads, as an engine is built of
them. `test_invariants` and `test_pipeline` leave most of these at their defaults."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llmbench.engines.api import FinishReason, Request
from llmbench.engines.config import engine_config
from llmbench.engines.core import EngineCore
from llmbench.engines.kv.paged import PagedKVCache
from llmbench.engines.pipeline import Core, PipelinedCore
from llmbench.engines.reads import why_unread
from llmbench.engines.strategy import build_strategy
from llmbench.engines.trace import StepTrace

from . import test_invariants, test_pipeline
from .drive import CountingExecutor, LateExecutor, Run, drive, make_core, make_request
from .resolved import resolved
from .test_pipeline import ends_of, ends_of_text

MAX_MODEL_LEN = 24
BATCHING = {
    "separate": {"batching": "separate"},
    "static": {"batching": "static"},
    "unified": {"batching": "mixed", "mixing": "unified"},
    "inflight": {"batching": "mixed", "mixing": "inflight"},
    "sarathi": {"batching": "mixed", "mixing": "sarathi"},
}
# In an order in which each is read or not by what stands before it.
SETTINGS: dict[str, tuple[object, ...]] = {
    "block_size": (1, 2, 4, 5),
    "prefix_cache": (False, True, True),
    "kv_reservation": ("max", "pow2", "oracle"),
    "arena": ("first-fit", "buddy"),
    "chunked_prefill": (True, True, False),
    "chunking": ("fcfs", "equal"),
    "chunk_unit": (1, 2, 3),
    "long_prefill_tokens": (0, 3, 4),
    "whole_prompt_fits": (False, True),
    "delay_factor": (0.0, 0.5, 3.0),
    "watermark": (0.0, 0.05, 0.1),
    "preemption": ("recompute", "swap"),
    "swap_memory_bytes": (8, 64),
}


@st.composite
def engines(draw: st.DrawFn, batching: str) -> dict[str, Any]:
    """Settings that mean something together, and the limits of a step; a byte holds a token."""
    chosen: dict[str, Any] = dict(BATCHING[batching])
    chosen["admission"] = draw(st.sampled_from(["optimistic", "optimistic", "reserve"]))
    chosen["kv"] = draw(st.sampled_from(["paged", "paged", "contiguous"]))
    for name, values in SETTINGS.items():
        if not why_unread(name, chosen):
            chosen[name] = draw(st.sampled_from(values))
    seqs = draw(st.integers(2, 6))
    cuts = engine_config("paged", **chosen).cuts_prompts
    # No less than a unit of a chunk.
    batched = draw(st.sampled_from([max(seqs, 3), 9, 16])) if cuts else MAX_MODEL_LEN
    pool = draw(st.sampled_from([32, 36, 48]))
    limits = {"max_num_seqs": seqs, "max_num_batched_tokens": batched}
    return chosen | limits | {"max_model_len": MAX_MODEL_LEN, "kv_memory_bytes": pool}


@st.composite
def requests(draw: st.DrawFn) -> list[tuple[int, Request]]:
    """Each with the step before which it comes."""
    drawn: list[tuple[int, Request]] = []
    for index in range(draw(st.integers(1, 7))):
        prompt = draw(st.integers(1, 16))
        request = make_request(
            f"{chr(97 + index)}{index}",
            prompt,
            draw(st.integers(1, MAX_MODEL_LEN - prompt)),
            n=draw(st.sampled_from([1, 1, 1, 2])),
            priority=draw(st.sampled_from([0, 0, 0, 1])),
            # All of it at times: such prompts are answered alike, too.
            shared=draw(st.sampled_from([0, prompt - 1, prompt])),
        )
        stops = draw(st.sampled_from([(), (), tuple(range(0, 97, 9))]))
        sampling = replace(request.sampling, stop_token_ids=stops)
        salt = draw(st.sampled_from([None, None, "salt"]))
        drawn.append(
            (draw(st.integers(0, 12)), replace(request, sampling=sampling, cache_salt=salt))
        )
    return drawn


def build(choice: dict[str, Any], eos: tuple[int, ...], *, ahead: bool) -> Core:
    engine = resolved(engine_config("paged", **choice), **limits_of(choice))
    strategy = build_strategy(engine, kv_bytes_per_token=1)
    if ahead:
        late = LateExecutor()
        return PipelinedCore(strategy, late, late.clock, eos)
    executor = CountingExecutor()
    return EngineCore(strategy, executor, executor.clock, eos)


def limits_of(choice: dict[str, Any]) -> dict[str, Any]:
    names = ("max_num_seqs", "max_num_batched_tokens", "max_model_len", "kv_memory_bytes")
    return {name: choice[name] for name in names}


def computed_by(run: Run) -> Counter[str]:
    """Tokens by sequence, each counted when it was first computed or found in the cache."""
    computed: Counter[str] = Counter()
    for step in run.steps:
        for chunk in step.chunks:
            if chunk.request_id not in step.dropped:
                new = chunk.length - chunk.recomputed_tokens + chunk.cached_tokens
                computed[chunk.request_id] += new
    return computed


def check_step(core: Core, step: StepTrace) -> None:
    ahead = isinstance(core, PipelinedCore)
    (test_pipeline if ahead else test_invariants).check_step(core, step)
    queues, kv = core.queues, core.strategy.kv
    for line in queues:
        assert [one.rank for one in line] == sorted(one.rank for one in line)
    if isinstance(kv, PagedKVCache):
        salts = {
            (block, request.request.cache_salt)
            for request in queues.running
            for block in kv.block_table(request)
        }
        assert len(salts) == len({block for block, _ in salts})


@pytest.mark.parametrize("ahead", [False, True], ids=["in step", "ahead"])
@pytest.mark.parametrize("batching", list(BATCHING))
@settings(max_examples=40, deadline=None)
@given(load=requests(), eos=ends_of_text, data=st.data())
def test_every_answer_is_whole_whatever_the_settings(batching, ahead, load, eos, data) -> None:
    core = build(data.draw(engines(batching)), eos, ahead=ahead)
    arrivals: dict[int, list[Request]] = {}
    for step, request in load:
        arrivals.setdefault(step, []).append(request)
    run = drive(core, arrivals=arrivals, after_step=check_step)
    ends, computed = ends_of(run), computed_by(run)
    for _, request in load:
        name, prompt = request.request_id, len(request.prompt_token_ids)
        alone = drive(make_core(pool_tokens=256, eos=eos), [request])
        for choice in range(request.sampling.n):
            tokens = run.tokens(name, choice)
            if ends[name, choice] is FinishReason.REFUSED:
                # All samples together may never fit, but that is known before any begins.
                assert request.sampling.n > 1
                assert not tokens
                continue
            assert tokens == alone.tokens(name, choice)
            assert ends[name, choice] is ends_of(alone)[name, choice]
            # The newest token is never computed; the prompt is computed once for all samples.
            sequence, before = (f"{name}#{choice}", 0) if choice else (name, prompt)
            assert computed[sequence] == before + len(tokens) - 1
    test_invariants.check_idle(core)
