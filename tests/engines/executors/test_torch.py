"""What the executor hands the model, and what it gives back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from llmbench.engines.api import Request, SamplingParams
from llmbench.engines.assemble import LoadedModel, load_model
from llmbench.engines.config import engine_config
from llmbench.engines.executors.moves import allocate_host
from llmbench.engines.executors.torch import TorchExecutor
from llmbench.engines.kv.base import Move
from llmbench.engines.kv.contiguous import ContiguousKVCache
from llmbench.engines.kv.paged import PagedKVCache
from llmbench.engines.models.catalogue import resolve_model
from llmbench.engines.models.kv_tensors import allocate_contiguous, allocate_paged
from llmbench.engines.resolve import resolve
from llmbench.engines.state import RequestState
from llmbench.engines.step import Chunk, StepPlan
from llmbench.engines.trace import PhaseTimes

DTYPE, CPU = torch.float32, torch.device("cpu")


@pytest.fixture(scope="module")
def loaded() -> LoadedModel:
    files = resolve_model("bundled")
    return load_model(
        files, resolve(engine_config(dtype="float32", device="cpu", max_model_len=64), files)
    )


def request(name: str, prompt: int) -> RequestState:
    tokens = tuple(range(5, 5 + prompt))
    return RequestState(Request(name, tokens, SamplingParams(max_tokens=4)))


@pytest.mark.parametrize("kind", ["paged", "contiguous"])
def test_logits_are_computed_only_where_a_token_is_sampled(
    loaded: LoadedModel, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kv: Any
    if kind == "paged":
        kv, cache = PagedKVCache(8, 4), allocate_paged(loaded.config, 8, 4, DTYPE, CPU)
    else:
        kv, cache = ContiguousKVCache(96, 32), allocate_contiguous(loaded.config, 96, DTYPE, CPU)
    asked: list[list[int]] = []
    forward = loaded.model.forward

    def spy(*arguments: Any) -> torch.Tensor:
        asked.append(arguments[5].tolist())
        logits = forward(*arguments)
        assert len(logits) == len(arguments[5])
        return logits

    monkeypatch.setattr(loaded.model, "forward", spy)
    unfinished, finished, decoding = request("a", 9), request("b", 3), request("c", 2)
    for one in (unfinished, finished, decoding):
        assert kv.extend(one, one.known_tokens)
    executor = TorchExecutor(loaded.model, cache)

    def run(plan: StepPlan) -> Sequence[int]:
        result = executor.execute(plan, kv, kv.take_moves())
        assert result.times.attention_s > 0
        assert result.times.linear_s > 0
        return result.token_ids

    # Five of nine prompt tokens, a whole prompt of three, a last token.
    chunks = (Chunk(unfinished, 0, 5), Chunk(finished, 0, 3))
    tokens = run(StepPlan(prefills=chunks, decodes=(Chunk(decoding, 1, 1),)))
    assert len(tokens) == 2
    assert run(StepPlan(prefills=(Chunk(unfinished, 5, 2),))) == []
    assert asked == [[7, 8], []]


def test_the_argmax_alone_is_wanted_where_nobody_asks_for_more(
    loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    kv, cache = PagedKVCache(8, 4), allocate_paged(loaded.config, 8, 4, DTYPE, CPU)
    asked: list[bool] = []
    forward = loaded.model.forward

    def spy(*arguments: Any) -> torch.Tensor:
        asked.append(arguments[7] is not None)
        return forward(*arguments)

    monkeypatch.setattr(loaded.model, "forward", spy)
    greedy = request("a", 3)
    told = RequestState(Request("b", (5, 6), SamplingParams(max_tokens=4, logprobs=0)))
    for one in (greedy, told):
        assert kv.extend(one, one.known_tokens)
    executor = TorchExecutor(loaded.model, cache)

    def run(*chunks: Chunk) -> None:
        executor.execute(StepPlan(prefills=chunks), kv, kv.take_moves())

    run(Chunk(greedy, 0, 3))
    run(Chunk(greedy, 0, 3), Chunk(told, 0, 2))
    run(Chunk(greedy, 0, 3), Chunk(told, 0, 1))  # which does not come to its token
    assert asked == [True, False, True]


@pytest.mark.parametrize("forced", [{}, {"argmax": "torch"}], ids=["found", "forced"])
def test_tokens_that_the_pass_found_are_taken_unless_an_argmax_was_asked_for(
    loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch, forced: dict[str, str]
) -> None:
    """Places that are no argmax, so that they are known again; two samples share a row."""
    kv, cache = PagedKVCache(8, 4), allocate_paged(loaded.config, 8, 4, DTYPE, CPU)
    forward = loaded.model.forward
    likeliest: list[int] = []

    def finds(*arguments: Any) -> torch.Tensor:
        logits = forward(*arguments)
        likeliest[:] = logits.argmax(1).tolist()
        arguments[7].places = torch.tensor([100, 101])
        return logits

    monkeypatch.setattr(loaded.model, "forward", finds)
    one = request("a", 3)
    two = RequestState(Request("b", (5, 6), SamplingParams(max_tokens=4, n=2)))
    for each in (one, two):
        assert kv.extend(each, each.known_tokens)
    plan = StepPlan(prefills=(Chunk(one, 0, 3), Chunk(two, 0, 2)))
    result = TorchExecutor(loaded.model, cache, force=forced).execute(plan, kv, kv.take_moves())

    first, second = likeliest if forced else (100, 101)
    assert list(result.token_ids) == [first, second, second]
    assert not any(result.logprobs)


@pytest.mark.parametrize("computes", [True, False], ids=["beside a token", "alone"])
def test_copies_are_the_models_time_and_swaps_are_their_own(
    loaded: LoadedModel, computes: bool
) -> None:
    kv, cache = PagedKVCache(8, 4), allocate_paged(loaded.config, 8, 4, DTYPE, CPU)
    executor = TorchExecutor(loaded.model, cache, allocate_host(cache.tensors, 2))
    one = request("a", 3)
    assert kv.extend(one, 3)
    plan = StepPlan(prefills=(Chunk(one, 0, 3),)) if computes else StepPlan()

    def times(*moves: Move) -> PhaseTimes:
        return executor.execute(plan, kv, moves).times

    assert times(Move("copy", 5, 6)).swap_s == 0.0
    assert (times(Move("copy", 5, 6)).linear_s > 0) is computes
    assert times(Move("out", 5, 0), Move("copy", 5, 6)).swap_s > 0
