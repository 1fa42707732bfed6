"""Where the tokens of synthetic prompts come from: runs of a text, or the vocabulary at random.

Request i's tokens depend on the seed and on i alone, never on how long the others are.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

import numpy as np

from .api import TextEncoder, WorkloadError
from .prompts import draw_offsets, run_of


class Words(Protocol):
    """Tokens for numbered places."""

    def take(self, index: int, length: int) -> tuple[int, ...]:
        """`length` tokens for place `index`; a shorter run begins a longer one."""
        ...


class CorpusWords:
    """Runs of a tokenised text, each from an offset of its own."""

    def __init__(self, corpus: tuple[int, ...], count: int, rng: np.random.Generator) -> None:
        self._corpus = corpus
        self._offsets: list[int] = draw_offsets(count, len(corpus), rng).tolist()

    def take(self, index: int, length: int) -> tuple[int, ...]:
        return run_of(self._corpus, self._offsets[index], length)


class RandomWords:
    """Uniform draws from the vocabulary."""

    def __init__(self, vocabulary: Collection[int], count: int, rng: np.random.Generator) -> None:
        self._vocabulary = np.fromiter(vocabulary, dtype=np.int64)
        self._seeds: list[int] = rng.integers(2**63, size=count).tolist()

    def take(self, index: int, length: int) -> tuple[int, ...]:
        rng = np.random.default_rng(self._seeds[index])
        drawn = rng.integers(len(self._vocabulary), size=length)
        return tuple(self._vocabulary[drawn].tolist())


def plain_vocabulary(encoder: TextEncoder | None, vocab_size: int | None) -> list[int]:
    """Token ids that a model knows and that are no special tokens, in order.

    Raises WorkloadError: no vocabulary is known, or nothing is left of it.
    """
    sizes = [size for size in (vocab_size, encoder and encoder.vocab_size) if size is not None]
    if not sizes:
        raise WorkloadError("prompts", "random", "a model whose vocabulary is known")
    special = encoder.special_ids if encoder else frozenset()
    vocabulary = [token for token in range(min(sizes)) if token not in special]
    if not vocabulary:
        raise WorkloadError("prompts", "random", "a vocabulary with tokens that are not special")
    return vocabulary
