"""From logits to tokens. A request's tokens do not depend on what shares its batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .api import SamplingParams


@dataclass(frozen=True)
class Draw:
    """One token to choose: how, and its place in the output (the random stream's position).

    choice: which of the request's samples; each has a stream of its own.
    """

    sampling: SamplingParams
    output_index: int
    choice: int = 0


def sample(logits: Tensor, draws: Sequence[Draw]) -> list[int]:
    """One token id a row. logits: [rows, vocab]; one host copy for the whole batch."""
    chosen = logits.argmax(dim=-1)
    random_rows = [row for row, draw in enumerate(draws) if draw.sampling.temperature > 0]
    if random_rows:
        host = logits[random_rows].float().cpu()
        for row, scores in zip(random_rows, host, strict=True):
            chosen[row] = _sample_row(scores, draws[row])
    return chosen.tolist()


def _sample_row(scores: Tensor, draw: Draw) -> Tensor:
    """One token of one request, float32 on the host."""
    sampling = draw.sampling
    scores = scores / sampling.temperature
    if 0 < sampling.top_k < scores.numel():
        kept = torch.topk(scores, sampling.top_k)
        scores = torch.full_like(scores, -torch.inf).scatter_(0, kept.indices, kept.values)
    probabilities = scores.softmax(dim=-1)
    if sampling.top_p < 1:
        probabilities = _nucleus(probabilities, sampling.top_p)
    stream = _stream(sampling.seed, draw.choice, draw.output_index)
    generator = torch.Generator().manual_seed(stream)
    return torch.multinomial(probabilities, 1, generator=generator)[0]


def _nucleus(probabilities: Tensor, top_p: float) -> Tensor:
    """The smallest set of tokens whose mass reaches top_p (Holtzman et al., ICLR 2020)."""
    ordered, order = probabilities.sort(descending=True)
    mass_before = ordered.cumsum(0) - ordered
    return torch.zeros_like(probabilities).scatter_(
        0, order, ordered.masked_fill(mass_before >= top_p, 0.0)
    )


def _stream(seed: int, choice: int, output_index: int) -> int:
    """A distinct generator seed for each sample and output position of a seed, in 64 bits.

    The position decides, not how often the generator was called, so a recomputed request goes
    on where it was. The multiplier is Steele et al.'s odd constant of SplitMix64 (OOPSLA 2014).
    """
    mixed = seed * 0x9E3779B97F4A7C15 + choice * 0xBF58476D1CE4E5B9 + output_index
    return mixed & 0x7FFFFFFFFFFFFFFF
