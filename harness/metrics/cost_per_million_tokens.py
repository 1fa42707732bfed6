"""What a million tokens cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .base import Better, Metric

SECONDS_PER_HOUR = 3600.0


@dataclass(frozen=True)
class CostPerMillionTokens(Metric):
    """Price of an hour / tokens in an hour x 10^6, in the currency of the price.

    Tokens in an hour: 3600 x the throughput in the steady window, which is the whole run where none
    was found. `output`: by `output_throughput`; `total`: by `total_throughput`. The price is of all
    that serves together, and of every hour, whether busy or not.
    Elsewhere: InferenceX (formerly InferenceMAX) "cost per million tokens".
    """

    price_per_hour: float

    id: ClassVar[str] = "cost_per_million_tokens"
    unit: ClassVar[str] = "per Mtoken"
    better: ClassVar[Better] = "lower"

    def of(self, tokens_per_s: float) -> float | None:
        """None where no token came about."""
        if tokens_per_s <= 0:
            return None
        return self.price_per_hour / (SECONDS_PER_HOUR * tokens_per_s) * 1e6
