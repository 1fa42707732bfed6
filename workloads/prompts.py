"""What requests say: token ids of exactly the asked length, cut from a tokenised text.

Token ids are sent, never text: text made to measure comes back from a tokenizer with another
length. A prompt is a run of real text, so its statistics (repeats, rare words) are a text's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from .api import WorkloadError


def checked_corpus(corpus_token_ids: Sequence[int], vocab_size: int | None) -> tuple[int, ...]:
    """The corpus as plain integers. Raises WorkloadError: empty, or a token the model lacks."""
    corpus = tuple(np.asarray(corpus_token_ids, dtype=np.int64).tolist())
    if not corpus:
        raise WorkloadError("corpus", "", "at least one token", "has no tokens")
    lowest, highest = min(corpus), max(corpus)
    if lowest < 0 or (vocab_size is not None and highest >= vocab_size):
        wrong = lowest if lowest < 0 else highest
        top = "" if vocab_size is None else f" below the vocabulary size {vocab_size}"
        raise WorkloadError("corpus", wrong, f"token ids of 0 or more{top}", "is not a token id")
    return corpus


def draw_offsets(
    num_requests: int, corpus_tokens: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """[num_requests] offsets into the corpus, each used once before any is used again.

    Two prompts at one offset would share a prefix, and a prefix cache would take it for reuse.
    """
    rounds = -(-num_requests // corpus_tokens)
    offsets = np.concatenate([rng.permutation(corpus_tokens) for _ in range(rounds)])
    return offsets[:num_requests]


def cut_prompts(
    corpus: tuple[int, ...],
    offsets: Iterable[int],
    lengths: Iterable[int],
    shared_tokens: int = 0,
) -> list[tuple[int, ...]]:
    """One prompt a pair: `length` tokens from `offset` on, going round at the corpus's end.

    shared_tokens: how many of them, at the front, are the corpus's first in every prompt; one that
    is not longer than that shares all but its last token.
    """
    prompts = [_cut(corpus, int(o), int(n)) for o, n in zip(offsets, lengths, strict=True)]
    if not shared_tokens:
        return prompts
    prefix = _cut(corpus, 0, shared_tokens)
    shared = [min(shared_tokens, len(prompt) - 1) for prompt in prompts]
    return [prefix[:count] + prompt[count:] for prompt, count in zip(prompts, shared, strict=True)]


def _cut(corpus: tuple[int, ...], offset: int, length: int) -> tuple[int, ...]:
    prompt = corpus[offset : offset + length]
    while len(prompt) < length:
        prompt += corpus[: length - len(prompt)]
    return prompt
