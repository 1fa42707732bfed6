"""What every engine is asked: prompts of exact length, outputs of exact length, all at once.

Prompts are token ids cut from a text, never text, so every engine computes the same tokens. No two
prompts of a job begin alike, and no job repeats another's, so no prefix cache can help.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from ...workloads.prompts import checked_corpus, cut_prompts, draw_offsets

MAX_NUM_SEQS = 8
"""Requests that an engine may compute at a time; the rest wait in its own queue."""
MAX_MODEL_LEN = 1024
"""Positions that an engine is told to have room for: the longest job's, and some."""


class Figure(StrEnum):
    """What is measured of each engine, all in tokens a second."""

    PREFILL_512 = "prefill_512_tokens_per_s"
    PREFILL_32X128 = "prefill_32x128_tokens_per_s"
    DECODE_1 = "decode_batch_1_tokens_per_s"
    DECODE_8 = "decode_batch_8_tokens_per_s"
    OUTPUT = "output_tokens_per_s"


@dataclass(frozen=True)
class Job:
    """Requests that are sent together, each to produce `output_tokens`, end-of-text ignored.

    figure: what is read from it; None for a warm-up.
    """

    figure: Figure | None
    prompts: tuple[tuple[int, ...], ...]
    output_tokens: int

    @property
    def prompt_tokens(self) -> int:
        return sum(len(prompt) for prompt in self.prompts)


@dataclass(frozen=True)
class JobShape:
    """Requests x prompt tokens -> output tokens each."""

    figure: Figure | None
    requests: int
    prompt_tokens: int
    output_tokens: int


SHAPES = (
    JobShape(None, MAX_NUM_SEQS, 128, 8),
    JobShape(Figure.PREFILL_512, 1, 512, 1),
    JobShape(Figure.PREFILL_32X128, 32, 128, 1),
    JobShape(Figure.DECODE_1, 1, 128, 64),
    JobShape(Figure.DECODE_8, MAX_NUM_SEQS, 128, 64),
    JobShape(Figure.OUTPUT, 32, 128, 64),
)


def make_jobs(corpus_token_ids: Sequence[int], seed: int) -> tuple[Job, ...]:
    """The jobs of one visit to an engine, a warm-up first; same seed, same tokens.

    corpus_token_ids: a text in the model's tokens. Raises WorkloadError for an empty one.
    """
    corpus = checked_corpus(corpus_token_ids, None)
    requests = sum(shape.requests for shape in SHAPES)
    offsets = iter(draw_offsets(requests, len(corpus), np.random.default_rng(seed)))
    return tuple(
        Job(
            shape.figure,
            tuple(
                cut_prompts(
                    corpus,
                    [next(offsets) for _ in range(shape.requests)],
                    [shape.prompt_tokens] * shape.requests,
                )
            ),
            shape.output_tokens,
        )
        for shape in SHAPES
    )
