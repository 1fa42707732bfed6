"""Energy a token."""

from __future__ import annotations

from typing import ClassVar

from .base import Better, Metric


class EnergyPerToken(Metric):
    """Energy of the device while the run was measured / tokens, in joules.

    Over the whole run, drain and idle power included: a device that waits for requests draws power,
    too. `output`: by output tokens; `total`: by input and output tokens, as `total_throughput`
    counts them. What was read, and by whom, is in the result's `energy`.
    Elsewhere: InferenceX (formerly InferenceMAX) "joules per token".
    """

    id: ClassVar[str] = "energy_per_token"
    unit: ClassVar[str] = "J/token"
    better: ClassVar[Better] = "lower"

    def of(self, energy_j: float, tokens: float) -> float | None:
        """None where no token came about."""
        return energy_j / tokens if tokens > 0 else None
