"""Conversations of several requests, as they stand in a workload file."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from .base import DisagreementError, Part
from .bounds import AnySeconds, Log, LogSpread, Seconds, TurnCount, TurnMean


class FixedTurns(Part):
    """Always as many turns."""

    kind: Literal["fixed"]
    turns: TurnCount


class UniformTurns(Part):
    """Every whole number from min_turns to max_turns, both included, equally likely."""

    kind: Literal["uniform"]
    min_turns: TurnCount
    max_turns: TurnCount

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.max_turns < self.min_turns:
            allowed = f"max_turns of at least min_turns ({self.min_turns})"
            raise DisagreementError(f"has max_turns {self.max_turns}", allowed)
        return self


class GeometricTurns(Part):
    """After each turn the session goes on with the same probability, 1 - 1 / mean."""

    kind: Literal["geometric"]
    mean: TurnMean = Field(description="Mean turns of a session, before max_turns.")
    max_turns: TurnCount | None = Field(default=None, description="A session ends here.")


Turns = Annotated[FixedTurns | UniformTurns | GeometricTurns, Field(discriminator="kind")]


class FixedThink(Part):
    """Always as long."""

    kind: Literal["fixed"]
    seconds: AnySeconds


class UniformThink(Part):
    """Any time from min_s to max_s, equally likely."""

    kind: Literal["uniform"]
    min_s: AnySeconds
    max_s: Seconds

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.max_s < self.min_s:
            allowed = f"max_s of at least min_s ({self.min_s:g})"
            raise DisagreementError(f"has max_s {self.max_s:g}", allowed)
        return self


class ExponentialThink(Part):
    """Exponentially distributed."""

    kind: Literal["exponential"]
    mean_s: Seconds


class LognormalThink(Part):
    """exp(Normal(mu, sigma)) seconds."""

    kind: Literal["lognormal"]
    mu: Log = Field(description="Mean of the natural logarithm of the seconds.")
    sigma: LogSpread = Field(description="Standard deviation of the natural logarithm.")


Think = Annotated[
    FixedThink | UniformThink | ExponentialThink | LognormalThink, Field(discriminator="kind")
]


class Sessions(Part):
    """Several requests that follow each other: each turn's prompt is all that was said before,
    with the planned replies, and something new."""

    turns: Turns | None = Field(
        default=None,
        description="Turns of a session, at most as many as a conversation of the data has. Left "
        "out: all of them.",
    )
    think_s: Think = Field(
        default=FixedThink(kind="fixed", seconds=0.0),
        description="From the end of a reply to the user's next turn.",
    )
