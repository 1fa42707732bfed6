"""Greedy tokens are transformers' own, whatever the strategy. The reference is `generate` in
float32, one request at a time."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from llmbench.engines.api import FinishReason, Request, SamplingParams
from llmbench.engines.assemble import LoadedModel, build_engine, load_model, resolve
from llmbench.engines.clock import WallClock
from llmbench.engines.config import EngineConfig, engine_config
from llmbench.engines.models.bundled import model_directory
from llmbench.engines.models.catalogue import ModelFiles, resolve_model

OUTPUT_TOKENS = 12
# Longer than a chunk, shorter than a block, one token, exactly a block.
PROMPT_TOKENS = (70, 5, 1, 16, 33)

COMBINATIONS = [
    pytest.param(batching, admission, kv, block_size, budget, id="-".join(map(str, row)))
    for row in [
        (batching, admission, kv, block_size, budget)
        for batching in ("separate", "mixed", "static")
        for admission in ("optimistic", "reserve")
        for kv, block_size in (("paged", 1), ("paged", 16), ("contiguous", None))
        # Separate batching computes prompts whole; the others cut them.
        for budget in ((96, 256) if batching == "separate" else (8, 64, 256))
    ]
    for batching, admission, kv, block_size, budget in [row]
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
    loaded: LoadedModel, engine: EngineConfig, prompts: Sequence[tuple[int, ...]]
) -> tuple[list[list[int]], int]:
    """Each prompt's tokens, and how many preemptions it took."""
    core = build_engine(loaded, engine, WallClock())
    for index, prompt in enumerate(prompts):
        core.add(Request(str(index), prompt, SamplingParams(OUTPUT_TOKENS, ignore_eos=True)))
    tokens: list[list[int]] = [[] for _ in prompts]
    preemptions = 0
    while core.has_work():
        outcome = core.step()
        for event in outcome.events:
            assert event.finish in (None, FinishReason.LENGTH), event.detail
            assert event.token_id is not None
            tokens[int(event.request_id)].append(event.token_id)
        assert outcome.trace is not None
        preemptions += len(outcome.trace.preempted)
    return tokens, preemptions


@pytest.mark.parametrize(("batching", "admission", "kv", "block_size", "budget"), COMBINATIONS)
def test_greedy_tokens_are_those_of_generate(
    loaded, files, prompts, expected, batching, admission, kv, block_size, budget
) -> None:
    engine = resolve(
        settings(
            batching=batching,
            admission=admission,
            kv=kv,
            block_size=block_size,
            max_num_batched_tokens=budget,
        ),
        files,
    )
    tokens, _ = serve(loaded, engine, prompts)
    assert tokens == expected


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
