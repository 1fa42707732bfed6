"""A quantised cache end to end: the tokens it holds, and the same answers whatever the strategy.

The reference is transformers' `generate` in float32 with a cache that rounds what it is given.
"""

from __future__ import annotations

import pytest
import torch
from llmbench.engines.api import FinishReason, Request, SamplingParams
from llmbench.engines.assemble import LoadedModel, build_engine, load_model
from llmbench.engines.clock import WallClock
from llmbench.engines.config import EngineConfig, engine_config
from llmbench.engines.errors import ConfigError
from llmbench.engines.models.bundled import model_directory
from llmbench.engines.models.catalogue import ModelFiles, resolve_model
from llmbench.engines.models.dense import dense_logits
from llmbench.engines.models.kv_tensors import allocate_contiguous, allocate_paged
from llmbench.engines.resolve import resolve
from llmbench.engines.resolved import ResolvedEngine
from transformers import AutoModelForCausalLM

from .rounding import RoundingCache

OUTPUT_TOKENS = 12
# Longer than a chunk, one token, exactly a block, neither.
PROMPT_TOKENS = (70, 1, 16, 33)
# 6 layers of a key and a value in 2 heads: 64 codes of a byte and a scale of two.
BYTES_PER_TOKEN = 6 * 2 * 2 * (64 + 2)


def settings(kv_dtype: str, **changes) -> EngineConfig:
    return engine_config(
        "paged",
        **{
            "dtype": "float32",
            "device": "cpu",
            "max_model_len": 96,
            "max_num_seqs": 3,
            "kv_memory_bytes": 2**20,
            "kv_dtype": kv_dtype,
            **changes,
        },
    )


@pytest.fixture(scope="module")
def files() -> ModelFiles:
    return resolve_model("bundled")


@pytest.fixture(scope="module")
def loaded(files: ModelFiles) -> LoadedModel:
    return load_model(files, resolve(settings("auto"), files))


@pytest.fixture(scope="module")
def prompts() -> list[tuple[int, ...]]:
    generator = torch.Generator().manual_seed(11)
    return [
        tuple(torch.randint(3, 2048, (length,), generator=generator).tolist())
        for length in PROMPT_TOKENS
    ]


@pytest.fixture(scope="module")
def expected(prompts: list[tuple[int, ...]]) -> dict[str, list[list[int]]]:
    model = AutoModelForCausalLM.from_pretrained(model_directory(), dtype=torch.float32).eval()

    def answer(prompt: tuple[int, ...], kv_dtype: str) -> list[int]:
        ids = torch.tensor([prompt])
        whole = model.generate(  # pyright: ignore[reportAttributeAccessIssue]
            ids,
            attention_mask=torch.ones_like(ids),
            past_key_values=RoundingCache(kv_dtype),
            max_new_tokens=OUTPUT_TOKENS,
            min_new_tokens=OUTPUT_TOKENS,
            do_sample=False,
            eos_token_id=None,
        )
        return whole[0, len(prompt) :].tolist()

    return {name: [answer(prompt, name) for prompt in prompts] for name in ("int8", "fp8")}


def serve(
    loaded: LoadedModel, engine: ResolvedEngine, prompts: list[tuple[int, ...]]
) -> list[list[int]]:
    core = build_engine(loaded, engine, WallClock())
    for index, prompt in enumerate(prompts):
        core.add(Request(str(index), prompt, SamplingParams(OUTPUT_TOKENS, ignore_eos=True)))
    tokens: list[list[int]] = [[] for _ in prompts]
    while core.has_work():
        for event in core.step().events:
            assert event.finish in (None, FinishReason.LENGTH), event.detail
            assert event.token_id is not None
            tokens[int(event.request_id)].append(event.token_id)
    return tokens


# Each cache meets each way of batching with each budget, and each of both each admission:
# what admission does to a request is not what rounds its keys and values.
STRATEGIES = [
    (batching, budget, ("optimistic", "reserve")[(nth + at) % 2], kv, block_size)
    for nth, (batching, budget) in enumerate(
        [("separate", 96), ("mixed", 8), ("mixed", 64), ("static", 8), ("static", 256)]
    )
    for at, (kv, block_size) in enumerate([("paged", 1), ("paged", 16), ("contiguous", None)])
]


@pytest.mark.parametrize(("batching", "budget", "admission", "kv", "block_size"), STRATEGIES)
@pytest.mark.parametrize("kv_dtype", ["int8", "fp8"])
def test_greedy_tokens_are_those_of_generate_whatever_the_strategy(
    loaded, files, prompts, expected, kv_dtype, batching, budget, admission, kv, block_size
) -> None:
    engine = resolve(
        settings(
            kv_dtype,
            batching=batching,
            admission=admission,
            kv=kv,
            block_size=block_size,
            max_num_batched_tokens=budget,
        ),
        files,
    )
    assert serve(loaded, engine, prompts) == expected[kv_dtype]


def test_preemption_and_recompute_change_no_token(loaded, files, prompts, expected) -> None:
    # Room for one request of the longest kind: prompts of 33, 33 and 16 tokens, which then grow.
    engine = resolve(settings("int8", block_size=4, kv_memory_bytes=96 * BYTES_PER_TOKEN), files)
    core = build_engine(loaded, engine, WallClock())
    chosen = [3, 3, 2]
    for index, which in enumerate(chosen):
        sampling = SamplingParams(OUTPUT_TOKENS, ignore_eos=True)
        core.add(Request(str(index), prompts[which], sampling))
    tokens, preemptions = [[], [], []], 0
    while core.has_work():
        outcome = core.step()
        for event in outcome.events:
            tokens[int(event.request_id)].append(event.token_id)
        preemptions += len(outcome.trace.preempted) if outcome.trace else 0
    assert preemptions > 0
    assert tokens == [expected["int8"][which] for which in chosen]


@pytest.mark.parametrize("kv_dtype", ["int8", "fp8"])
def test_swapped_codes_come_back_with_their_scales(
    loaded, files, prompts, expected, kv_dtype: str
) -> None:
    room = 96 * BYTES_PER_TOKEN
    asked = settings(kv_dtype, block_size=4, kv_memory_bytes=room, preemption="swap")
    core = build_engine(loaded, resolve(asked, files), WallClock())
    chosen = [3, 3, 2]
    for index, which in enumerate(chosen):
        sampling = SamplingParams(OUTPUT_TOKENS, ignore_eos=True)
        core.add(Request(str(index), prompts[which], sampling))
    tokens, swapped = [[], [], []], 0
    while core.has_work():
        outcome = core.step()
        for event in outcome.events:
            tokens[int(event.request_id)].append(event.token_id)
        swapped += len(outcome.trace.swapped_out) if outcome.trace else 0
    assert swapped > 0
    assert tokens == [expected[kv_dtype][which] for which in chosen]


@pytest.mark.parametrize("kv_dtype", ["int8", "fp8"])
def test_copied_codes_take_their_scales_along(
    loaded, files, prompts, expected, kv_dtype: str
) -> None:
    """Samples share a prompt of 70 tokens, 30 in its last block: each but one writes to a copy."""
    core = build_engine(loaded, resolve(settings(kv_dtype, block_size=40), files), WallClock())
    core.add(Request("0", prompts[0], SamplingParams(OUTPUT_TOKENS, n=3, ignore_eos=True)))
    tokens: list[list[int]] = [[], [], []]
    while core.has_work():
        for event in core.step().events:
            assert event.token_id is not None
            tokens[event.choice].append(event.token_id)
    assert tokens == [expected[kv_dtype][0]] * 3


@pytest.mark.parametrize("kv_dtype", ["int8", "fp8"])
@pytest.mark.parametrize(
    ("kv", "held"),
    [
        # 100 000 bytes: 63 tokens of 1 584 bytes, 32 of bfloat16's 3 072.
        ("contiguous", 63),
        ("paged", 48),  # three whole blocks of 16
    ],
)
def test_the_pool_holds_what_fits(loaded, files, kv: str, held: int, kv_dtype: str) -> None:
    engine = resolve(settings(kv_dtype, kv=kv, kv_memory_bytes=100_000, max_model_len=32), files)
    core = build_engine(loaded, engine, WallClock())
    assert core.strategy.kv.capacity_tokens == held
    config, device = loaded.config, torch.device("cpu")
    if kv == "contiguous":
        tensors = allocate_contiguous(config, held, torch.float32, device, kv_dtype)
    else:
        tensors = allocate_paged(config, held // 16, 16, torch.float32, device, kv_dtype)
    assert tensors.nbytes == held * BYTES_PER_TOKEN
    assert config.kv_bytes_per_token("bfloat16", kv_dtype) == BYTES_PER_TOKEN


def test_a_pool_too_small_says_how_many_tokens_it_has(files) -> None:
    with pytest.raises(ConfigError, match=r"100000 bytes \(63 tokens\)"):
        resolve(settings("int8", kv_memory_bytes=100_000), files)


@pytest.mark.parametrize("kv_dtype", ["int8", "fp8"])
def test_scoring_sees_the_rounded_cache(loaded, prompts, kv_dtype: str) -> None:
    """Logits of one pass are transformers' with rounded keys and values, not without."""
    model = AutoModelForCausalLM.from_pretrained(model_directory(), dtype=torch.float32).eval()
    ids = torch.tensor([prompts[0]])
    with torch.no_grad():
        theirs = model(ids, past_key_values=RoundingCache(kv_dtype)).logits[0]
        plain = model(ids).logits[0]
    ours = dense_logits(loaded.model, prompts[0], kv_dtype)
    rounding = (theirs - plain).norm()
    assert (ours - theirs).norm() < 0.1 * rounding
    assert (dense_logits(loaded.model, prompts[0]) - plain).norm() < 0.1 * rounding
