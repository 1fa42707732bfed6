"""Distances and perplexities worked by hand, on models that are tables."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from llmbench.harness.quality import Answered, Score, answered, distance, perplexity
from llmbench.harness.record import RequestRecord, RequestStatus


def table_model(*rows: Sequence[float]) -> Score:
    """Predicts probabilities rows[token] after each token."""
    logits = torch.tensor(rows, dtype=torch.float64).log()
    return lambda token_ids: logits[list(token_ids)]


FAIR = table_model([0.5, 0.5], [0.5, 0.5])
SKEWED = table_model([0.9, 0.1], [0.5, 0.5])


def test_kl_and_agreement_by_hand() -> None:
    # Tokens 0 0 1 with a prompt of one: predictions after token 0 (twice) are compared.
    seen = distance(SKEWED, FAIR, [Answered((0, 0, 1), prompt_tokens=1)])
    assert seen is not None
    expected = 0.5 * math.log(0.5 / 0.9) + 0.5 * math.log(0.5 / 0.1)
    assert seen.kl_mean == pytest.approx(expected, rel=1e-6)
    assert seen.kl_p99 == pytest.approx(expected, rel=1e-6)
    assert (seen.top1_agreement, seen.tokens) == (1.0, 2)


def test_only_the_answer_is_compared() -> None:
    other = table_model([0.5, 0.5], [0.1, 0.9])
    # After token 1 the models differ, but token 1 only ever stands in the prompt's inside.
    seen = distance(other, FAIR, [Answered((1, 0, 0), prompt_tokens=2)])
    assert seen is not None
    assert seen.kl_mean == 0.0
    assert seen.tokens == 1


def test_disagreement_is_counted() -> None:
    reference = table_model([0.2, 0.8], [0.5, 0.5])
    seen = distance(SKEWED, reference, [Answered((0, 0, 0, 0), prompt_tokens=1)])
    assert seen is not None
    assert seen.top1_agreement == 0.0


def test_nothing_answered_has_no_distance() -> None:
    assert distance(FAIR, FAIR, []) is None


def test_perplexity_by_hand() -> None:
    # Windows (0 0 1) and (0 1): the first token of each is given. p = .9, .1 and .1.
    seen = perplexity(SKEWED, [0, 0, 1, 0, 1], window_tokens=3)
    assert seen is not None
    assert seen.value == pytest.approx((0.9 * 0.1 * 0.1) ** (-1 / 3))
    assert (seen.window_tokens, seen.tokens) == (3, 3)


def test_a_fair_coin_has_perplexity_two() -> None:
    seen = perplexity(FAIR, [0, 1] * 20, window_tokens=7)
    assert seen is not None
    assert seen.value == pytest.approx(2.0)


def test_text_too_short_has_none() -> None:
    assert perplexity(FAIR, [1], 8) is None


def record(index: int, status: RequestStatus, output: tuple[int, ...]) -> RequestRecord:
    times = tuple(float(i) for i in range(len(output)))
    return RequestRecord(f"r{index}", index, status, 0.0, 0.0, 0.0, times, 2, output)


def test_answers_are_taken_in_order_until_there_are_enough() -> None:
    records = [
        record(0, RequestStatus.REFUSED, ()),
        record(1, RequestStatus.OK, (7, 8)),
        record(2, RequestStatus.OK, (9,)),
        record(3, RequestStatus.OK, (5,)),
    ]
    prompts = [(0,), (1, 1), (2, 2), (3, 3)]
    chosen = answered(records, prompts, most_tokens=3)
    assert chosen == [Answered((1, 1, 7, 8), 2), Answered((2, 2, 9), 2)]
