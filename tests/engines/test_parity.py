"""Greedy tokens are transformers' own, whatever the strategy. The reference is `generate` in
float32, one request at a time."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from llmbench.engines.api import FinishReason, Request, SamplingParams
from llmbench.engines.assemble import LoadedModel, build_engine, load_model
from llmbench.engines.clock import WallClock
from llmbench.engines.config import EngineConfig, engine_config
from llmbench.engines.models.bundled import model_directory
from llmbench.engines.models.catalogue import ModelFiles, resolve_model
from llmbench.engines.pipeline import Core
from llmbench.engines.resolve import resolve
from llmbench.engines.resolved import ResolvedEngine
from llmbench.engines.trace import StepTrace

OUTPUT_TOKENS = 12
# Longer than a chunk, shorter than a block, one token, exactly a block.
PROMPT_TOKENS = (70, 5, 1, 16, 33)

# Each way of batching with the token budgets that cut it differently: separate batching computes
# prompts whole, the others may cut them.
BATCHING = {
    "separate": ({"batching": "separate"}, (96, 256)),
    "unified": ({"batching": "mixed", "mixing": "unified"}, (8, 64)),
    "inflight": ({"batching": "mixed", "mixing": "inflight", "chunk_unit": 4}, (8, 64, 256)),
    "equal": ({"batching": "mixed", "mixing": "inflight", "chunking": "equal"}, (64,)),
    "sarathi": ({"batching": "mixed", "mixing": "sarathi"}, (8, 64)),
    "static": ({"batching": "static"}, (8, 256)),
}
KV = {
    "block1": {"kv": "paged", "block_size": 1},
    "block16": {"kv": "paged", "block_size": 16},
    "prefix": {"kv": "paged", "block_size": 4, "prefix_cache": True},
    "max": {"kv": "contiguous"},
    "pow2-buddy": {"kv": "contiguous", "kv_reservation": "pow2", "arena": "buddy"},
    "oracle": {"kv": "contiguous", "kv_reservation": "oracle"},
}
ADMISSION = ("optimistic", "reserve")
# Of the ways with two budgets or more, each meets each admission over each cache, with one budget
# or the other. `test_invariants` tries all, under any load: that tokens do not depend on the
# schedule, and that each slot read is the one that was written.
COMBINATIONS = [
    pytest.param(
        {**choice, **KV[kv], "admission": admission, "max_num_batched_tokens": budget},
        id=f"{batching}-{admission}-{kv}-{budget}",
    )
    for batching, (choice, budgets) in BATCHING.items()
    for nth, budget in enumerate(budgets)
    for at, kv in enumerate(KV)
    for admission in (ADMISSION[(nth + at) % 2],)
]


@pytest.fixture(scope="module")
def files() -> ModelFiles:
    return resolve_model("bundled")


@pytest.fixture(scope="module")
def loaded(files: ModelFiles) -> LoadedModel:
    return load_model(files, resolve(settings(), files))


def settings(**changes) -> EngineConfig:
    return engine_config(
        "paged",
        **{
            "dtype": "float32",
            "device": "cpu",
            "max_model_len": 96,
            "max_num_seqs": 4,
            "kv_memory_bytes": 2**21,
            **changes,
        },
    )


@pytest.fixture(scope="module")
def prompts(loaded: LoadedModel) -> list[tuple[int, ...]]:
    generator = torch.Generator().manual_seed(5)
    vocabulary = loaded.config.vocab_size
    return [
        tuple(torch.randint(3, vocabulary, (length,), generator=generator).tolist())
        for length in PROMPT_TOKENS
    ]


@pytest.fixture(scope="module")
def expected(prompts: list[tuple[int, ...]]) -> list[list[int]]:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(model_directory(), dtype=torch.float32).eval()
    answers = []
    for prompt in prompts:
        ids = torch.tensor([prompt])
        output = model.generate(  # pyright: ignore[reportAttributeAccessIssue]
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=OUTPUT_TOKENS,
            min_new_tokens=OUTPUT_TOKENS,
            do_sample=False,
            eos_token_id=None,
        )
        answers.append(output[0, len(prompt) :].tolist())
    return answers


def serve(
    loaded: LoadedModel, engine: ResolvedEngine, prompts: Sequence[tuple[int, ...]]
) -> tuple[list[list[int]], int]:
    """Each prompt's tokens, and how many preemptions it took."""
    core = build_engine(loaded, engine, WallClock())
    tokens, traces = _drain(core, prompts)
    return tokens, sum(len(trace.preempted) for trace in traces)


def serve_on(core: Core, prompts: Sequence[tuple[int, ...]]) -> tuple[list[list[int]], int]:
    """Each prompt's tokens, and how many prompt tokens the prefix cache had."""
    tokens, traces = _drain(core, prompts)
    return tokens, sum(chunk.cached_tokens for trace in traces for chunk in trace.chunks)


def _drain(
    core: Core, prompts: Sequence[tuple[int, ...]]
) -> tuple[list[list[int]], list[StepTrace]]:
    for index, prompt in enumerate(prompts):
        core.add(Request(str(index), prompt, SamplingParams(OUTPUT_TOKENS, ignore_eos=True)))
    tokens: list[list[int]] = [[] for _ in prompts]
    traces: list[StepTrace] = []
    while core.has_work():
        outcome = core.step()
        for event in outcome.events:
            assert event.finish in (None, FinishReason.LENGTH), event.detail
            assert event.token_id is not None
            tokens[int(event.request_id)].append(event.token_id)
        assert outcome.trace is not None
        traces.append(outcome.trace)
    return tokens, traces


@pytest.mark.parametrize("axes", COMBINATIONS)
def test_greedy_tokens_are_those_of_generate(loaded, files, prompts, expected, axes) -> None:
    tokens, _ = serve(loaded, resolve(settings(**axes), files), prompts)
    assert tokens == expected


def test_a_prefix_found_in_the_cache_changes_no_token(loaded, files, prompts, expected) -> None:
    axes = {"prefix_cache": True, "block_size": 4, "batching": "mixed", "mixing": "unified"}
    core = build_engine(loaded, resolve(settings(**axes), files), WallClock())
    for round_ in range(2):
        tokens, hits = serve_on(core, prompts)
        assert tokens == expected
        assert (hits > 0) == (round_ == 1)


@pytest.mark.parametrize(
    ("axes", "room_tokens"),
    [
        ({"kv": "paged", "block_size": 16}, 260),
        # At their ends the samples of the longer prompt hold 29 of 32 blocks, the others 13.
        ({"kv": "paged", "block_size": 4, "preemption": "swap", "max_num_seqs": 6}, 128),
        ({"kv": "contiguous", "kv_reservation": "oracle"}, 260),
        ({"batching": "mixed", "mixing": "unified", "kv": "paged", "prefix_cache": True}, 260),
    ],
)
def test_samples_of_one_prompt_are_each_its_continuation(
    loaded, files, prompts, expected, axes, room_tokens
) -> None:
    """Greedy samples are all the same; what they read was shared, copied on write, or swapped."""
    room = room_tokens * loaded.config.kv_bytes_per_token("float32")
    core = build_engine(loaded, resolve(settings(kv_memory_bytes=room, **axes), files), WallClock())
    sampling = SamplingParams(OUTPUT_TOKENS, n=3, ignore_eos=True)
    for name in ("0", "1"):
        core.add(Request(name, prompts[int(name)], sampling))
    tokens: dict[tuple[str, int], list[int]] = {}
    swapped_out = 0
    while core.has_work():
        outcome = core.step()
        for event in outcome.events:
            assert event.token_id is not None
            tokens.setdefault((event.request_id, event.choice), []).append(event.token_id)
        assert outcome.trace is not None
        swapped_out += len(outcome.trace.swapped_out)
    assert (swapped_out > 0) == (axes.get("preemption") == "swap")
    assert tokens == {
        (name, choice): expected[int(name)] for name in ("0", "1") for choice in range(3)
    }


def test_swapping_to_the_host_and_back_changes_no_token(loaded, files, prompts, expected) -> None:
    room = 96 * loaded.config.kv_bytes_per_token("float32")
    engine = resolve(
        settings(block_size=4, kv_memory_bytes=room, max_num_batched_tokens=96, preemption="swap"),
        files,
    )
    core = build_engine(loaded, engine, WallClock())
    chosen = [4, 4, 3, 2]
    for index, prompt in enumerate(chosen):
        sampling = SamplingParams(OUTPUT_TOKENS, ignore_eos=True)
        core.add(Request(str(index), prompts[prompt], sampling))
    tokens: list[list[int]] = [[] for _ in chosen]
    swapped_out = recomputed = 0
    while core.has_work():
        outcome = core.step()
        for event in outcome.events:
            assert event.token_id is not None
            tokens[int(event.request_id)].append(event.token_id)
        assert outcome.trace is not None
        swapped_out += len(outcome.trace.swapped_out)
        recomputed += sum(chunk.recomputed_tokens for chunk in outcome.trace.chunks)
    assert swapped_out > 0
    assert recomputed == 0
    assert tokens == [expected[i] for i in chosen]


@pytest.mark.parametrize("batching", ["separate", "mixed", "static"])
def test_preemption_and_recompute_change_no_token(
    loaded, files, prompts, expected, batching
) -> None:
    # Room for one request of the longest kind, and for three of these prompts that then grow.
    room = 96 * loaded.config.kv_bytes_per_token("float32")
    engine = resolve(
        settings(batching=batching, block_size=4, kv_memory_bytes=room, max_num_batched_tokens=96),
        files,
    )
    chosen = [4, 4, 3, 2]
    tokens, preemptions = serve(loaded, engine, [prompts[i] for i in chosen])
    assert preemptions > 0
    assert tokens == [expected[i] for i in chosen]


def test_sampled_tokens_do_not_depend_on_the_batch(loaded, files, prompts) -> None:
    sampling = SamplingParams(8, temperature=0.8, top_k=50, top_p=0.9, seed=7, ignore_eos=True)

    def sample(company: int, **axes) -> list[int]:
        core = build_engine(loaded, resolve(settings(**axes), files), WallClock())
        for index in range(company):
            core.add(Request(f"other{index}", prompts[index], SamplingParams(5, ignore_eos=True)))
        core.add(Request("me", prompts[4], sampling))
        tokens = []
        while core.has_work():
            tokens += [e.token_id for e in core.step().events if e.request_id == "me"]
        return tokens

    alone = sample(0)
    assert len(alone) == 8
    assert sample(3) == alone
    assert sample(2, batching="mixed", kv="contiguous", max_num_batched_tokens=16) == alone
