"""Prefixes that synthetic prompts have in common: several system prompts, each used by a share of
the requests."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from .api import WorkloadError
from .prompts import PrefixBlocks, run_of
from .spec import CorpusPrompts, RandomPrompts
from .spec.bounds import MOST_PROMPT_TOKENS


class SharedPrefixes:
    """The prefixes of a workload, and which request has which."""

    def __init__(
        self,
        prompts: CorpusPrompts | RandomPrompts,
        num_requests: int,
        rng: np.random.Generator,
        make: Callable[[int, int], tuple[int, ...]],
    ) -> None:
        """make: the tokens of a numbered prefix, so many. Raises WorkloadError: two are
        equal, or there are more than a machine holds."""
        self._tokens = prompts.shared_prefix_tokens
        count = prompts.shared_prefix_count if self._tokens else 0
        if count * self._tokens > MOST_PROMPT_TOKENS:
            expected = f"at most {MOST_PROMPT_TOKENS:,} tokens in all prefixes"
            raise WorkloadError("prompts.shared_prefix_count", count, expected)
        self._prefixes = [make(number, self._tokens) for number in range(count)]
        if len(set(self._prefixes)) < count:
            raise WorkloadError(
                "prompts.shared_prefix_count",
                count,
                f"fewer, or longer ones: {self._tokens} tokens of this vocabulary or corpus do not "
                "tell so many apart",
            )
        self.of = which_prefix(prompts, num_requests, rng)

    def put(self, index: int, prompt: tuple[int, ...]) -> tuple[int, ...]:
        """A prompt of the same length that begins with its request's prefix, if it has one; one
        that is not longer than the prefix shares all but its last token."""
        number = self.of[index]
        if number is None:
            return prompt
        shared = min(self._tokens, len(prompt) - 1)
        return self._prefixes[number][:shared] + prompt[shared:]


def which_prefix(
    prompts: CorpusPrompts | RandomPrompts, num_requests: int, rng: np.random.Generator
) -> Sequence[int | None]:
    """The number of the prefix that each request begins with; None: it has none."""
    count = prompts.shared_prefix_count if prompts.shared_prefix_tokens else 0
    chance, which = rng.random((num_requests, 2)).T
    has_one = (chance < prompts.shared_prefix_ratio) & (count > 0)
    return [int(u * count) if one else None for one, u in zip(has_one, which.tolist(), strict=True)]


def corpus_prefix(corpus: tuple[int, ...]) -> Callable[[int, int], tuple[int, ...]]:
    """The first prefix is the corpus's own beginning; the others are blocks that differ from the
    start."""
    blocks = PrefixBlocks(corpus)
    return lambda number, tokens: (
        blocks.block(number, tokens) if number else run_of(corpus, 0, tokens)
    )
