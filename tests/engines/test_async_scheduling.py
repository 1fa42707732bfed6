"""The real model in a thread, with the next step prepared meanwhile, says what it says in step."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from llmbench.engines import sampling as sampling_module
from llmbench.engines.api import FinishReason, Request, SamplingParams, TokenEvent
from llmbench.engines.assemble import LoadedModel, build_engine, load_model
from llmbench.engines.clock import WallClock
from llmbench.engines.config import engine_config
from llmbench.engines.models.catalogue import ModelFiles, resolve_model
from llmbench.engines.models.tokenizer import load_tokenizer
from llmbench.engines.pipeline import PipelinedCore
from llmbench.engines.presets import presets
from llmbench.engines.resolve import resolve
from llmbench.engines.resolved import ResolvedEngine
from llmbench.engines.sampling import Draw
from llmbench.engines.state import PLACEHOLDER
from llmbench.engines.trace import StepTrace
from torch import Tensor

# Each samples differently: greedy, ending at end of text or at a string, drawn, penalised.
SAMPLING = (
    SamplingParams(12, ignore_eos=True),
    SamplingParams(12, stop=("e ", "\n")),
    SamplingParams(9, temperature=0.9, top_p=0.9, seed=3, n=2, ignore_eos=True),
    SamplingParams(12, repetition_penalty=1.3, logprobs=2),
    SamplingParams(7, n=3, temperature=1.0, seed=5, stop_token_ids=tuple(range(0, 400, 7))),
)


@pytest.fixture(scope="module")
def files() -> ModelFiles:
    return resolve_model("bundled")


@pytest.fixture(scope="module")
def loaded(files: ModelFiles) -> LoadedModel:
    return load_model(files, settings("paged", files))


def settings(preset: str, files: ModelFiles, **changes: object) -> ResolvedEngine:
    chosen = {
        "dtype": "float32",
        "device": "cpu",
        "max_model_len": 96,
        "max_num_seqs": 6,
        "max_num_batched_tokens": 128,
        "kv_memory_bytes": 2**22,
        **changes,
    }
    return resolve(engine_config(preset, **chosen), files)


def prompts(count: int, seed: int) -> list[tuple[int, ...]]:
    draw = random.Random(seed)

    def tokens(count: int) -> tuple[int, ...]:
        return tuple(draw.randrange(3, 400) for _ in range(count))

    shared = tokens(20)
    return [shared[: draw.choice((0, 20))] + tokens(draw.randint(1, 40)) for _ in range(count)]


def serve(
    loaded: LoadedModel,
    engine: ResolvedEngine,
    load: Sequence[tuple[int, ...]],
    sampling: Sequence[SamplingParams] = SAMPLING,
) -> tuple[dict[tuple[str, int], list[object]], list[StepTrace]]:
    """Tokens, log-probabilities and endings by sequence, and the steps. A request comes a step."""
    decode = load_tokenizer(loaded.files.directory).decode
    core = build_engine(loaded, engine, WallClock(), decode)
    assert isinstance(core, PipelinedCore) is bool(engine.async_scheduling)
    seen: dict[tuple[str, int], list[object]] = {}
    steps: list[StepTrace] = []
    coming = [Request(str(i), prompt, sampling[i % len(sampling)]) for i, prompt in enumerate(load)]
    while coming or core.has_work():
        if coming:
            core.add(coming.pop(0))
        outcome = core.step()
        for event in outcome.events:
            assert not event.detail, event.detail
            seen.setdefault((event.request_id, event.choice), []).append(_shown(event))
        if outcome.trace is not None:
            steps.append(outcome.trace)
    return seen, steps


def _shown(event: TokenEvent) -> object:
    rank = event.logprobs and event.logprobs.rank
    return event.token_id, event.finish, rank


@pytest.mark.parametrize("preset", [preset.name for preset in presets()])
def test_every_preset_says_the_same(loaded: LoadedModel, files: ModelFiles, preset: str) -> None:
    seed = random.randrange(2**32)
    load = prompts(7, seed)
    plain, _ = serve(loaded, settings(preset, files), load)
    seen, steps = serve(loaded, settings(preset, files, async_scheduling=True), load)
    assert seen == plain, f"seed {seed}"
    # What must be read before the next step is planned is so, and visibly; the rest is not.
    assert {step.synchronous for step in steps} == {"", "penalties"}, f"seed {seed}"
    for step in steps:
        assert step.end_s - step.start_s == pytest.approx(
            sum(getattr(step.phases, name) for name in step.phases.__slots__)
        )


@pytest.mark.parametrize(
    "sampling",
    [
        SamplingParams(12, ignore_eos=True, repetition_penalty=0.1),
        SamplingParams(12, ignore_eos=True, presence_penalty=0.5, temperature=1.5, n=3),
    ],
    ids=["repetition", "presence"],
)
def test_penalties_are_of_the_tokens_before_alone(
    loaded: LoadedModel,
    files: ModelFiles,
    monkeypatch: pytest.MonkeyPatch,
    sampling: SamplingParams,
) -> None:
    """A step in flight has a place for its tokens already: -1, as an index the vocabulary's last
    token. A repetition penalty below 1 would make that one the likeliest."""
    load = prompts(6, seed=3)
    each = [replace(sampling, seed=seed) for seed in range(len(load))]
    plain, _ = serve(loaded, settings("vllm-v1", files), load, each)
    drawn: list[Draw] = []
    penalised = sampling_module.penalised

    def seen(scores: Tensor, draw: Draw) -> Tensor:
        drawn.append(draw)
        return penalised(scores, draw)

    monkeypatch.setattr(sampling_module, "penalised", seen)
    piped, _ = serve(loaded, settings("vllm-v1", files, async_scheduling=True), load, each)
    assert piped == plain
    assert len(drawn) == sum(map(len, plain.values()))
    for draw in drawn:
        assert len(draw.output_token_ids) == draw.output_index
        assert PLACEHOLDER not in draw.output_token_ids


def test_steps_follow_each_other_without_a_gap(loaded: LoadedModel, files: ModelFiles) -> None:
    engine = settings("vllm-v1", files, async_scheduling=True)
    _, steps = serve(loaded, engine, prompts(5, seed=1))
    assert [step.index for step in steps] == list(range(len(steps)))
    for before, after in pairwise(steps):
        assert before.start_s < before.end_s <= after.start_s


@pytest.mark.parametrize(
    "changes",
    [
        {"preemption": "recompute"},
        {"preemption": "swap"},
        {"preemption": "swap", "batching": "mixed", "mixing": "unified", "prefix_cache": True},
        {"preemption": "swap", "batching": "mixed", "mixing": "sarathi"},
    ],
    ids=lambda changes: "-".join(map(str, changes.values())),
)
def test_preempted_requests_go_on_where_they_were(
    loaded: LoadedModel, files: ModelFiles, changes: dict[str, object]
) -> None:
    room = 112 * loaded.config.kv_bytes_per_token("float32")
    tight = {"kv_memory_bytes": room, "block_size": 4, **changes}
    load = prompts(8, seed=2)
    sampling = (SamplingParams(24, ignore_eos=True), SamplingParams(24, ignore_eos=True, n=2))
    plain, _ = serve(loaded, settings("paged", files, **tight), load, sampling)
    engine = settings("paged", files, async_scheduling=True, **tight)
    seen, steps = serve(loaded, engine, load, sampling)
    assert seen == plain
    assert sum(len(step.preempted) for step in steps) > 0


@pytest.mark.parametrize("ahead", [False, True])
def test_a_row_of_nan_ends_its_own_request_alone(
    loaded: LoadedModel, files: ModelFiles, monkeypatch: pytest.MonkeyPatch, ahead: bool
) -> None:
    """Of the step that is in flight by then the row is dropped; it read some token's embedding."""
    engine = settings("vllm-v1", files, async_scheduling=ahead)
    load = prompts(4, seed=4)
    sampling = (
        SamplingParams(9, ignore_eos=True, logprobs=1),
        SamplingParams(9, ignore_eos=True, temperature=1.0, seed=2),
    )
    plain, _ = serve(loaded, engine, load, sampling)
    forward, passes = loaded.model.forward, 0

    def breaking(*arguments: object) -> Tensor:
        nonlocal passes
        passes += 1
        logits = forward(*arguments)  # type: ignore[arg-type]
        if passes == 6:
            logits[1] = torch.nan
        return logits

    monkeypatch.setattr(loaded.model, "forward", breaking)
    core = build_engine(loaded, engine, WallClock())
    for index, prompt in enumerate(load):
        core.add(Request(str(index), prompt, sampling[index % 2]))
    seen: dict[tuple[str, int], list[object]] = {}
    errors: list[TokenEvent] = []
    failed: list[str] = []
    while core.has_work():
        outcome = core.step()
        for event in outcome.events:
            if event.finish is FinishReason.ERROR:
                errors.append(event)
            else:
                seen.setdefault((event.request_id, event.choice), []).append(_shown(event))
        if outcome.trace is not None:
            failed += outcome.trace.failed
    (error,) = errors
    assert "give no probability distribution: NaN or infinity" in error.detail
    assert failed == [error.request_id]
    broken = error.request_id, 0
    assert 0 < len(seen[broken]) < len(plain[broken])
    assert seen[broken] == plain[broken][: len(seen[broken])]
    assert {**seen, broken: plain[broken]} == plain
