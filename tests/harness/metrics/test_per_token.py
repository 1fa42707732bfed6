"""What a token takes, of energy and of money, worked by hand."""

from __future__ import annotations

import pytest
from llmbench.harness.metrics import CostPerMillionTokens, EnergyPerToken


def test_joules_over_tokens() -> None:
    assert EnergyPerToken().of(700.0, 350) == 2.0
    assert EnergyPerToken().of(700.0, 0) is None


def test_a_price_over_the_tokens_of_an_hour() -> None:
    """2.50 an hour at 1000 tokens/s: 3.6 million tokens an hour, 0.694 a million."""
    assert CostPerMillionTokens(2.5).of(1000) == pytest.approx(2.5 / 3.6)
    assert CostPerMillionTokens(2.5).of(0) is None
