"""Four tokens to draw from, and how often each was drawn."""

from __future__ import annotations

from collections import Counter

import torch
from llmbench.engines.api import SamplingParams
from llmbench.engines.sampling import (
    Draw,
    sample,
)
from torch import Tensor

PROBABILITIES = torch.tensor([0.5, 0.25, 0.15, 0.1])


LOGITS = PROBABILITIES.log()


DRAWS = 2000


# What chi-square exceeds once in a thousand, by degrees of freedom (NIST handbook, 1.3.6.7.4).
CHI_SQUARE_999 = {0: 0.0, 1: 10.828, 2: 13.816, 3: 16.266}


RANDOM = SamplingParams(temperature=1.0)


def tokens(logits: Tensor, draws: list[Draw], rows: list[int] | None = None) -> list[int]:
    return [sampled.token_id for sampled in sample(logits, draws, rows)]


def check_shares(drawn: list[int], expected: list[float]) -> None:
    """Pearson's test of goodness of fit; what has no probability must not come at all."""
    seen = Counter(drawn)
    assert all(expected[token] > 0 for token in seen)
    likely = [token for token, share in enumerate(expected) if share > 0]
    statistic = sum(
        (seen[token] - len(drawn) * expected[token]) ** 2 / (len(drawn) * expected[token])
        for token in likely
    )
    assert statistic <= CHI_SQUARE_999[len(likely) - 1] + 1e-9
