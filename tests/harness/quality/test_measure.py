"""Distances and perplexities worked by hand, on models that are tables."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from llmbench.harness.quality import measure as quality
from llmbench.harness.quality.measure import (
    Answered,
    Score,
    answered,
    distance,
    perplexity,
    quality_on_text,
)
from llmbench.harness.run.record import RequestRecord, RequestStatus


def table_model(*rows: Sequence[float]) -> Score:
    """Predicts probabilities rows[token] after each token."""
    logits = torch.tensor(rows, dtype=torch.float64).log()
    return lambda token_ids, first=0: logits[list(token_ids)[first:]]


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


def test_logits_of_a_prompt_are_not_asked_for() -> None:
    """Of a long prompt over a large vocabulary they would be gigabytes, and none is compared."""
    asked: list[tuple[int, int]] = []

    def model(token_ids: Sequence[int], /, first: int = 0) -> torch.Tensor:
        asked.append((len(token_ids), first))
        return FAIR(token_ids, first=first)

    seen = distance(model, FAIR, [Answered((0,) * 1000 + (1, 1, 1), prompt_tokens=1000)])
    assert seen is not None
    assert seen.tokens == 3
    assert asked == [(1002, 999)]


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


def test_text_is_judged_window_by_window_by_hand() -> None:
    # Windows (0 0 1) and (0 1): predictions after token 0, thrice, are of a skewed and a fair coin.
    seen = quality_on_text(SKEWED, FAIR, [0, 0, 1, 0, 1], window_tokens=3)
    assert seen is not None
    assert seen.perplexity.value == pytest.approx((0.9 * 0.1 * 0.1) ** (-1 / 3))
    assert seen.reference_perplexity is not None
    assert seen.reference_perplexity.value == pytest.approx(2.0)
    assert seen.distance is not None
    expected = 0.5 * math.log(0.5 / 0.9) + 0.5 * math.log(0.5 / 0.1)
    assert seen.distance.kl_mean == pytest.approx(expected, rel=1e-6)
    assert (seen.distance.top1_agreement, seen.distance.tokens) == (1.0, 3)


@pytest.mark.parametrize("rows_at_a_time", [1, 5, 1000])
def test_distance_on_text_is_torchs_own_kl(
    rows_at_a_time: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quality, "ROWS_AT_A_TIME", rows_at_a_time)
    vocab, window = 11, 7
    ours, theirs = (torch.randn(vocab, vocab, dtype=torch.bfloat16) * 3 for _ in range(2))
    text = torch.randint(vocab, (25,)).tolist()
    seen = quality_on_text(
        lambda ids, first=0: ours[list(ids)[first:]],
        lambda ids, first=0: theirs[list(ids)[first:]],
        text,
        window_tokens=window,
    )
    assert seen is not None
    # The last of each window predicts nothing that is given.
    before = [text[i] for i in range(24) if (i + 1) % window]
    after = torch.tensor([text[i + 1] for i in range(24) if (i + 1) % window])
    kl = torch.nn.functional.kl_div(
        ours[before].float().log_softmax(-1),
        theirs[before].float().log_softmax(-1),
        log_target=True,
        reduction="none",
    ).sum(-1)
    nll = torch.nn.functional.cross_entropy(ours[before].float(), after)
    assert seen.distance is not None
    assert seen.distance.kl_mean == pytest.approx(float(kl.mean()), rel=1e-5)
    assert seen.distance.kl_p99 == pytest.approx(float(kl.quantile(0.99)), rel=1e-4)
    agreed = (ours[before].argmax(-1) == theirs[before].argmax(-1)).float().mean()
    assert seen.distance.top1_agreement == pytest.approx(float(agreed))
    assert seen.perplexity.value == pytest.approx(float(nll.exp()), rel=1e-5)


def test_parts_are_sums_over_neighbouring_tokens_of_one_window(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Windows (0 0 1 0) and (0 1): three predictions, in parts of two, and one.
    monkeypatch.setattr(quality, "PART_TOKENS", 2)
    seen = quality_on_text(SKEWED, FAIR, [0, 0, 1, 0, 0, 1], window_tokens=4)
    assert seen is not None
    assert seen.parts.tokens == (2, 1, 1)
    by_hand = (-math.log(0.9) - math.log(0.1), -math.log(0.5), -math.log(0.1))
    assert seen.parts.nll == pytest.approx(by_hand, rel=1e-6)
    kl = 0.5 * math.log(0.5 / 0.9) + 0.5 * math.log(0.5 / 0.1)
    assert seen.parts.kl == pytest.approx((2 * kl, 0.0, kl), rel=1e-6, abs=1e-9)
    assert seen.parts.agreed == (2, 1, 1)
    assert sum(seen.parts.nll) / 4 == pytest.approx(math.log(seen.perplexity.value))
    alone = quality_on_text(SKEWED, None, [0, 0, 1], window_tokens=4)
    assert alone is not None
    assert alone.parts.kl is alone.parts.agreed is None


@pytest.mark.parametrize("tokens", [1, 31, 32, 33, 511, 2047])
@pytest.mark.parametrize("text_tokens", [4096, 1_000_000])
def test_parts_of_a_window_are_as_long_as_it_and_of_a_long_text_few(
    tokens: int, text_tokens: int
) -> None:
    lengths = quality.lengths_of_parts(tokens, text_tokens)
    assert sum(lengths) == tokens
    assert min(lengths) > 0
    windows = -(-text_tokens // 2048)
    of_text = windows * len(quality.lengths_of_parts(2047, text_tokens))
    assert of_text <= quality.MOST_PARTS + windows


def test_a_window_is_all_that_is_scored_at_once() -> None:
    scored: list[int] = []

    def model(token_ids: Sequence[int], /, first: int = 0) -> torch.Tensor:
        scored.append(len(token_ids))
        return torch.zeros(len(token_ids) - first, 3)

    seen = quality_on_text(model, model, [0, 1, 2] * 7, window_tokens=10)
    assert scored == [10, 10, 10, 10]
    assert seen is not None
    assert seen.perplexity.tokens == 18
    assert quality_on_text(model, model, [0], window_tokens=10) is None


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
