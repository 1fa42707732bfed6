"""Quality takes minutes on a large model, and says how far it is; what is no number is said."""

from __future__ import annotations

import math

import pytest
import torch
from llmbench.harness.quality.of_run import (
    TOLD_EVERY_S,
    fingerprint,
    finite,
    measured_over,
    told_of,
)
from llmbench.harness.result import Quality, TextParts
from llmbench.harness.run.watch import Silent


class Told(Silent):
    def __init__(self) -> None:
        self.stages: list[str] = []

    def stage(self, text: str) -> None:
        self.stages.append(text)


def test_a_long_measurement_says_how_far_it_is() -> None:
    """Seven windows of 100 tokens and a last of 50, each of half the time between two messages."""
    watch, clock_s = Told(), 0.0
    given: list[int] = []

    def score(token_ids, /, first: int = 0) -> torch.Tensor:
        nonlocal clock_s
        clock_s += TOLD_EVERY_S / 2
        given.append(len(token_ids))
        return torch.zeros(len(token_ids) - first, 2)

    told = told_of(score, 750, watch, now=lambda: clock_s)
    for tokens in (*[100] * 7, 50):
        assert told(range(tokens)).shape == (tokens, 2)
    assert given == [100] * 7 + [50]
    assert watch.stages == [f"measuring quality: {done} of 750 tokens" for done in (200, 400, 600)]
    assert told(range(100), first=90).shape == (10, 2)


def test_a_short_one_says_nothing_more() -> None:
    watch = Told()
    told = told_of(
        lambda token_ids, first=0: torch.zeros(len(token_ids) - first, 2),
        20,
        watch,
        now=lambda: 0.0,
    )
    for _ in range(2):
        told(range(10))
    assert watch.stages == []


@pytest.mark.parametrize(
    ("measured", "said"),
    [
        ({"perplexity": math.nan, "text_top1_agreement": 0.0}, "perplexity is NaN: the model"),
        ({"perplexity": math.inf}, "perplexity is infinite: the model"),
        (
            {"perplexity": 9.0, "kl_p99": math.nan, "top1_agreement": 0.1},
            "kl p99 is NaN: the model",
        ),
        (
            {"perplexity": 9.0, "reference_perplexity": math.nan, "text_kl_mean": math.nan},
            "reference perplexity is NaN: the unquantised model",
        ),
    ],
)
def test_quality_that_is_no_number_makes_a_run_invalid(
    measured: dict[str, float], said: str
) -> None:
    stored, check = finite(Quality.model_validate({"reference": "none", **measured}))

    assert check.fatal
    assert not check.ok
    assert check.detail.startswith(said)
    assert "--verify-kernels" in check.detail
    assert stored.text_top1_agreement is stored.top1_agreement is None
    for name, value in stored:
        if isinstance(value, float):
            assert math.isfinite(value)
            assert value == measured[name]


def test_numbers_are_left_as_they_are() -> None:
    numbers = {"perplexity": 9.0, "kl_mean": 0.1, "top1_agreement": 0.9}
    quality = Quality.model_validate({"reference": "none", **numbers})
    stored, check = finite(quality)

    assert stored == quality
    assert check.ok


def test_parts_go_with_what_is_no_number() -> None:
    """They hold the same NaN, which JSON does not."""
    parts = TextParts(tokens=(32,), nll=(math.nan,))
    said = {"reference": "none", "perplexity": math.nan, "text_parts": parts}
    stored, check = finite(Quality.model_validate(said))
    assert not check.ok
    assert stored.text_parts is None


def test_a_fingerprint_is_of_the_tokens_and_of_where_each_text_ends() -> None:
    texts = [[1, 23], [4]]
    same = fingerprint(tuple(map(tuple, texts)))
    assert fingerprint(texts) == same
    others = ([[1, 2], [34]], [[12, 3], [4]], [[1, 23, 4]], [[4], [1, 23]])
    assert len({fingerprint(one) for one in (texts, *others)}) == 5


def test_what_is_counted_is_said_before_it_is() -> None:
    """Known wrong here: "over 4096 tokens", and then "1103 of 18306 tokens"."""
    assert measured_over(4096, 0) == "measuring quality over 4096 tokens of text"
    assert measured_over(4096, 14210) == (
        "measuring quality over 4096 tokens of text and 14210 of the run's own prompts and answers"
    )
