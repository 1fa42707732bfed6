"""Prompts: exactly as long as asked, from the text, each from a place of its own."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llmbench.workloads.api import WorkloadError
from llmbench.workloads.prompts import checked_corpus, cut_prompts, draw_offsets


def test_cut_goes_round_at_the_end_of_the_corpus() -> None:
    assert cut_prompts((5, 6, 7), [1, 2, 0], [2, 5, 7]) == [
        (6, 7),
        (7, 5, 6, 7, 5),
        (5, 6, 7, 5, 6, 7, 5),
    ]


@settings(deadline=None)
@given(
    corpus=st.lists(st.integers(0, 50_000), min_size=1, max_size=40),
    lengths=st.lists(st.integers(1, 200), min_size=1, max_size=30),
    seed=st.integers(0, 2**32),
)
def test_every_prompt_has_its_length_and_is_a_run_of_the_text(
    corpus: list[int], lengths: list[int], seed: int
) -> None:
    offsets = draw_offsets(len(lengths), len(corpus), np.random.default_rng(seed))
    prompts = cut_prompts(checked_corpus(corpus, None), offsets, lengths)
    assert [len(prompt) for prompt in prompts] == lengths
    for offset, prompt in zip(offsets.tolist(), prompts, strict=True):
        run = [corpus[(offset + i) % len(corpus)] for i in range(len(prompt))]
        assert list(prompt) == run


@settings(deadline=None)
@given(n=st.integers(1, 100), tokens=st.integers(1, 50), seed=st.integers(0, 2**32))
def test_an_offset_comes_again_only_when_all_were_used(n: int, tokens: int, seed: int) -> None:
    offsets = draw_offsets(n, tokens, np.random.default_rng(seed))
    uses = np.bincount(offsets, minlength=tokens)
    assert uses.sum() == n
    assert uses.max() - uses.min() <= 1


def test_prompts_of_a_varied_text_share_no_long_prefix() -> None:
    corpus = tuple(np.random.default_rng(0).integers(0, 1000, 5000).tolist())
    offsets = draw_offsets(500, len(corpus), np.random.default_rng(1))
    prompts = cut_prompts(corpus, offsets, [64] * 500)
    assert len({prompt[:4] for prompt in prompts}) == 500


@pytest.mark.parametrize(
    ("corpus", "vocab_size", "message"),
    [
        ([], None, "corpus: '' has no tokens; expected at least one token"),
        (
            [1, 300, 2],
            256,
            "corpus: 300 is not a token id; "
            "expected token ids of 0 or more below the vocabulary size 256",
        ),
        ([1, -4], None, "corpus: -4 is not a token id; expected token ids of 0 or more"),
    ],
)
def test_a_corpus_that_cannot_be_used(
    corpus: list[int], vocab_size: int | None, message: str
) -> None:
    with pytest.raises(WorkloadError) as caught:
        checked_corpus(corpus, vocab_size)
    assert str(caught.value) == message
