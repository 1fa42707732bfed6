"""Quality takes minutes on a large model, and says how far it is."""

from __future__ import annotations

import torch
from llmbench.harness.run_quality import TOLD_EVERY_S, told_of
from llmbench.harness.watch import Silent


class Told(Silent):
    def __init__(self) -> None:
        self.stages: list[str] = []

    def stage(self, text: str) -> None:
        self.stages.append(text)


def test_a_long_measurement_says_how_far_it_is() -> None:
    """Seven windows of 100 tokens and a last of 50, each of half the time between two messages."""
    watch, clock_s = Told(), 0.0
    given: list[int] = []

    def score(token_ids) -> torch.Tensor:
        nonlocal clock_s
        clock_s += TOLD_EVERY_S / 2
        given.append(len(token_ids))
        return torch.zeros(len(token_ids), 2)

    told = told_of(score, 750, watch, now=lambda: clock_s)
    for tokens in (*[100] * 7, 50):
        assert told(range(tokens)).shape == (tokens, 2)
    assert given == [100] * 7 + [50]
    assert watch.stages == [f"measuring quality: {done} of 750 tokens" for done in (200, 400, 600)]


def test_a_short_one_says_nothing_more() -> None:
    watch = Told()
    told = told_of(lambda token_ids: torch.zeros(len(token_ids), 2), 20, watch, now=lambda: 0.0)
    for _ in range(2):
        told(range(10))
    assert watch.stages == []
