"""Token choice: what may be chosen, how often, and that company changes nothing."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from llmbench.engines.api import SamplingParams
from llmbench.engines.sampling import Draw, sample

PROBABILITIES = torch.tensor([0.5, 0.25, 0.15, 0.1])
LOGITS = PROBABILITIES.log()
DRAWS = 4000


def frequencies(sampling: SamplingParams) -> list[float]:
    logits = LOGITS.expand(DRAWS, -1)
    tokens = Counter(sample(logits, [Draw(sampling, i) for i in range(DRAWS)]))
    return [tokens[token] / DRAWS for token in range(4)]


def test_greedy_takes_the_likeliest() -> None:
    logits = torch.tensor([[0.0, 3.0, 1.0], [2.0, -1.0, 1.0]])
    assert sample(logits, [Draw(SamplingParams(), 0)] * 2) == [1, 0]


@pytest.mark.parametrize(
    ("sampling", "expected"),
    [
        (SamplingParams(temperature=1.0), [0.5, 0.25, 0.15, 0.1]),
        # Squared and normalised: temperature 1/2.
        (SamplingParams(temperature=0.5), [0.725, 0.181, 0.065, 0.029]),
        (SamplingParams(temperature=1.0, top_k=2), [2 / 3, 1 / 3, 0, 0]),
        (SamplingParams(temperature=1.0, top_k=99), [0.5, 0.25, 0.15, 0.1]),
        # The smallest set that reaches 0.7 is the first two; it reaches 0.5 with the first alone.
        (SamplingParams(temperature=1.0, top_p=0.7), [2 / 3, 1 / 3, 0, 0]),
        (SamplingParams(temperature=1.0, top_p=0.5), [1, 0, 0, 0]),
    ],
)
def test_tokens_come_as_often_as_they_should(
    sampling: SamplingParams, expected: list[float]
) -> None:
    # Four standard errors of a share of one half over 4000 draws.
    assert frequencies(sampling) == pytest.approx(expected, abs=0.032)


def test_a_token_that_must_not_come_never_comes() -> None:
    seen = frequencies(SamplingParams(temperature=1.0, top_k=3, top_p=0.74))
    assert seen[2:] == [0, 0]


def test_a_row_does_not_depend_on_its_company() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(5, 100, generator=generator)
    draws = [Draw(SamplingParams(temperature=1.0, seed=s), 3) for s in range(5)]
    together = sample(logits, draws)
    alone = [sample(logits[i : i + 1], draws[i : i + 1])[0] for i in range(5)]
    assert together == alone
    mixed = sample(logits, [Draw(SamplingParams(), 0), *draws[1:]])
    assert mixed == [int(logits[0].argmax()), *together[1:]]


def test_seeds_and_positions_have_streams_of_their_own() -> None:
    logits = torch.zeros(1, 1000)
    draws = {
        sample(logits, [Draw(SamplingParams(temperature=1.0, seed=seed), position)])[0]
        for seed in range(8)
        for position in range(8)
    }
    # 64 draws from 1000 collide about twice; one shared stream would collide always.
    assert len(draws) > 55
