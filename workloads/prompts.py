"""What requests say: token ids of exactly the asked length, cut from a tokenised text.

Token ids are sent, never text: text made to measure comes back from a tokenizer with another
length. A prompt is a run of real text, so its statistics (repeats, rare words) are a text's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from .api import RequestShape, WorkloadError

# Tokens that spell the name of a prefix block.
SPELLING_TOKENS = 8
# Blocks of neighbouring names take runs of the corpus this far apart.
STRIDE_TOKENS = 7919


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
    corpus: tuple[int, ...], offsets: Iterable[int], lengths: Sequence[int]
) -> list[tuple[int, ...]]:
    """One prompt a pair: `length` tokens from `offset` on, going round at the corpus's end."""
    return [run_of(corpus, int(o), int(n)) for o, n in zip(offsets, lengths, strict=True)]


def run_of(corpus: tuple[int, ...], offset: int, length: int) -> tuple[int, ...]:
    """`length` tokens of the corpus from `offset` on, going round at its end."""
    run = corpus[offset : offset + length]
    missing = length - len(run)
    if missing > 0:
        rounds, rest = divmod(missing, len(corpus))
        run += corpus * rounds + corpus[:rest]
    return run


class PrefixBlocks:
    """The tokens of the prefix blocks that a trace names.

    A block is its name, spelt in its first eight tokens, and then a run of the corpus. So two
    blocks of different names differ within these, and a cache with blocks of that size or more
    shares exactly what the trace says is shared; and the same name means the same tokens in every
    run.
    """

    def __init__(self, corpus: tuple[int, ...]) -> None:
        self._corpus = corpus
        self._alphabet = sorted(set(corpus))

    def tokens(self, shape: RequestShape) -> tuple[int, ...]:
        """What a prompt of this shape begins with, [blocks x block tokens]; nothing if no block is
        named. Raises WorkloadError: the corpus has too few different tokens to spell a name."""
        tokens: list[int] = []
        for name in shape.prefix_block_ids:
            tokens += self.block(name, shape.prefix_block_tokens)
        return tuple(tokens)

    def block(self, name: int, size: int) -> tuple[int, ...]:
        """The first `size` tokens of the block of this name."""
        base, spelling, rest = len(self._alphabet), [], name
        for _ in range(SPELLING_TOKENS):
            rest, digit = divmod(rest, base)
            spelling.append(self._alphabet[digit])
        if rest:
            raise WorkloadError(
                "corpus",
                None,
                f"enough of them to spell the prefix block {name} in {SPELLING_TOKENS} tokens",
                f"has {base} different tokens",
            )
        offset = name * STRIDE_TOKENS % len(self._corpus)
        rest_tokens = max(0, size - SPELLING_TOKENS)
        return (*spelling[:size], *run_of(self._corpus, offset, rest_tokens))
