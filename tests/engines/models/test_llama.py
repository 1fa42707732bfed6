"""Our decoder against transformers', for every family and both cache layouts."""

from __future__ import annotations

import random

import pytest
import torch
from llmbench.engines.models.decoder import AttentionTimer
from torch import Tensor

from .conftest import Saved
from .serve import Served
from .tiny import VOCAB, assert_near, build, greedy, load

LAYOUTS = ("paged", "contiguous")
LENGTHS = (1, 6, 19)


def prompts(seed: int = 0, lengths: tuple[int, ...] = LENGTHS) -> list[list[int]]:
    stream = random.Random(seed)
    return [[stream.randrange(3, VOCAB) for _ in range(length)] for length in lengths]


@torch.no_grad()
def expected_logits(saved: Saved, sequences: list[list[int]]) -> list[Tensor]:
    return [saved.reference(torch.tensor([tokens])).logits[0] for tokens in sequences]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_one_chunk_gives_transformers_logits(saved: Saved, layout: str) -> None:
    sequences = prompts()
    logits = Served(load(saved.directory), layout, sequences).step(dict(enumerate(LENGTHS)))
    assert_near(logits, torch.cat(expected_logits(saved, sequences)))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_chunked_prefill_beside_decodes_gives_the_same_logits(saved: Saved, layout: str) -> None:
    sequences = prompts(1, (30, 30, 30))
    served = Served(load(saved.directory), layout, sequences)
    steps = [
        {0: 5},
        {1: 30, 0: 4},
        {2: 7, 0: 1},
        {0: 20, 2: 1},
        {2: 22},
    ]
    parts: dict[int, list[Tensor]] = {0: [], 1: [], 2: []}
    for lengths in steps:
        split = served.step(lengths).split(list(lengths.values()))
        for sequence, logits in zip(lengths, split, strict=True):
            parts[sequence].append(logits)
    for sequence, expected in enumerate(expected_logits(saved, sequences)):
        assert_near(torch.cat(parts[sequence]), expected)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_greedy_tokens_are_those_of_generate(saved: Saved, layout: str) -> None:
    sequences = prompts(2)
    expected = [greedy(saved.reference, tokens, 24) for tokens in sequences]
    assert Served(load(saved.directory), layout, sequences).greedy(24) == expected
    assert len({token for tokens in expected for token in tokens}) > 8  # says something


@pytest.mark.parametrize("layout", LAYOUTS)
def test_reference_kernels_agree(saved_llama: Saved, layout: str) -> None:
    names = ("rms_norm", "rope", "silu_mul", "cache_write", f"{layout}_attention")
    model = load(saved_llama.directory, force=dict.fromkeys(names, "reference"))
    sequences = prompts()
    logits = Served(model, layout, sequences).step(dict(enumerate(LENGTHS)))
    expected = torch.cat(expected_logits(saved_llama, sequences))
    assert_near(logits, expected)


def test_only_the_rows_asked_for_are_computed(saved_llama: Saved) -> None:
    model = load(saved_llama.directory)
    lengths = dict(enumerate(LENGTHS))
    whole = Served(model, "paged", prompts()).step(lengths)
    rows = torch.tensor([25, 0, 6])
    some = Served(model, "paged", prompts()).step(lengths, logit_rows=rows)
    assert_near(some, whole[rows])


def test_a_chunk_without_a_sampled_token_still_fills_the_cache(saved_llama: Saved) -> None:
    model = load(saved_llama.directory)
    sequences = prompts(3, (12,))
    served = Served(model, "paged", sequences)
    none = served.step({0: 8}, logit_rows=torch.empty(0, dtype=torch.int64))
    assert none.shape == (0, VOCAB)
    expected = expected_logits(saved_llama, sequences)[0][8:]
    assert_near(served.step({0: 4}), expected)


def test_timing_attention_changes_no_logit(saved_llama: Saved) -> None:
    model = load(saved_llama.directory)
    timer = AttentionTimer()
    timed = Served(model, "paged", prompts()).step(dict(enumerate(LENGTHS)), timer=timer)
    assert timer.seconds > 0
    assert torch.equal(timed, Served(model, "paged", prompts()).step(dict(enumerate(LENGTHS))))


def test_bfloat16_is_as_close_to_float32_as_transformers_is(saved: Saved) -> None:
    sequences = prompts(4, (24,))
    exact = expected_logits(saved, sequences)[0]
    rounded = build(saved.case).to(torch.bfloat16)
    with torch.no_grad():
        theirs = rounded(torch.tensor(sequences)).logits[0].float()
    model = load(saved.directory, torch.bfloat16)
    ours = Served(model, "paged", sequences).step({0: 24})
    assert ours.dtype == torch.bfloat16
    their_error = (theirs - exact).pow(2).mean().sqrt()
    our_error = (ours.float() - exact).pow(2).mean().sqrt()
    assert our_error < 1.25 * their_error


def test_weight_bytes_count_a_tied_projection_once(saved: Saved) -> None:
    model = load(saved.directory)
    stored = sum(parameter.numel() for parameter in saved.reference.parameters()) * 4
    read = stored if model.config.tie_word_embeddings else stored - model.embedding.numel() * 4
    assert model.weight_bytes == read
