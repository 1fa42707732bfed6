"""The random numbers of draws: uniform, and a stream of its own for each."""

from __future__ import annotations

from dataclasses import replace

import torch
from llmbench.engines.sampling import (
    Draw,
    _mix,
    uniform,
)
from torch import Tensor

from .drawn import DRAWS, LOGITS, PROBABILITIES, RANDOM, check_shares, tokens


def test_choices_of_one_row_have_streams_of_their_own() -> None:
    logits = LOGITS[None]
    draws = [Draw(RANDOM, 0, choice) for choice in range(DRAWS)]
    drawn = tokens(logits, draws, [0] * DRAWS)
    check_shares(drawn, PROBABILITIES.tolist())
    # The first says nothing about the second: pairs come as often as the product.
    pairs = [2 * (a > 0) + (b > 0) for a, b in zip(drawn[::2], drawn[1::2], strict=True)]
    check_shares(pairs, [0.25] * 4)
    # The first choice is what a request of one output draws.
    assert drawn[:1] == tokens(logits, [Draw(RANDOM, 0)])


def test_the_first_numbers_of_splitmix64() -> None:
    """The generator's published outputs for the seed 1234567 (Vigna, splitmix64.c; the value that
    Rosetta Code gives first): the hash is its mixing function."""
    gamma = 0x9E3779B97F4A7C15
    assert _mix(1234567 + gamma) == 6457827717110365317
    assert _mix(1234567 + 2 * gamma) == 3203168211198807973


def test_numbers_are_uniform_whatever_is_counted() -> None:
    """256 cells, 20 thousand numbers each along seeds, choices, positions; and pairs of
    neighbours in 16 x 16 cells. Chi-square of 255 degrees: 330.5 once in a thousand."""

    def statistic(cells: Tensor) -> float:
        share = len(cells) / 256
        return float(((torch.bincount(cells, minlength=256) - share) ** 2).sum() / share)

    count = range(20_000)
    for along in (
        [uniform(Draw(replace(RANDOM, seed=index), 3)) for index in count],
        [uniform(Draw(RANDOM, 3, choice)) for choice in count],
        [uniform(Draw(RANDOM, index)) for index in count],
    ):
        numbers = torch.tensor(along, dtype=torch.float64)
        assert float(numbers.min()) >= 0
        assert float(numbers.max()) < 1
        assert statistic((numbers * 256).long()) < 330.5
        sixteenths = (numbers * 16).long()
        assert statistic(16 * sixteenths[:-1] + sixteenths[1:]) < 400  # pairs overlap


def test_seeds_and_positions_have_streams_of_their_own() -> None:
    logits = torch.zeros(1, 1000)
    draws = {
        tokens(logits, [Draw(replace(RANDOM, seed=seed), position)])[0]
        for seed in range(8)
        for position in range(8)
    }
    # 64 draws from 1000 collide about twice; one shared stream would collide always.
    assert len(draws) > 55
