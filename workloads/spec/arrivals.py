"""When requests are due, as it stands in a workload file. With `sessions`: when sessions begin."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from .base import DisagreementError, Part
from .bounds import AnyRate, Factor, FilePath, Rate, Requests, Seconds, Variation


class ClosedLoop(Part):
    """A request is due when a slot frees: the load adapts to the engine, and nothing queues."""

    kind: Literal["closed_loop"]
    max_concurrency: Requests = Field(description="Requests in flight at all times.")


class _OpenLoop(Part):
    max_concurrency: Requests | None = Field(
        default=None,
        description="At most this many requests in flight. Due times stay as they are, so a "
        "request held back by the cap is late from the time it was due.",
    )


class AtOnce(_OpenLoop):
    """Every request is due at 0 (a request rate of `inf`)."""

    kind: Literal["at_once"]


class Poisson(_OpenLoop):
    """Independent, exponentially distributed gaps: many users who do not know of each other."""

    kind: Literal["poisson"]
    rate_per_s: Rate = Field(description="Mean requests a second.")


class Constant(_OpenLoop):
    """One request every 1 / rate_per_s seconds, exactly."""

    kind: Literal["constant"]
    rate_per_s: Rate = Field(description="Requests a second.")


class Gamma(_OpenLoop):
    """Gamma-distributed gaps: cv below 1 is smoother than Poisson, above 1 burstier."""

    kind: Literal["gamma"]
    rate_per_s: Rate = Field(description="Mean requests a second.")
    cv: Variation = Field(
        description="Coefficient of variation of the gaps, standard deviation / mean. 1 is "
        "Poisson; vLLM's burstiness is 1 / cv^2."
    )

    @model_validator(mode="before")
    @classmethod
    def _not_burstiness(cls, given: object) -> object:
        if isinstance(given, Mapping) and "burstiness" in given:
            allowed = "cv, which is 1 / sqrt(burstiness): vLLM's burstiness is the gamma's shape"
            raise DisagreementError(f"has burstiness {given['burstiness']!r}", allowed)
        return given


class OnOff(_OpenLoop):
    """Poisson arrivals while ON, silence while OFF: an interrupted Poisson process."""

    kind: Literal["on_off"]
    on_rate_per_s: Rate = Field(description="Requests a second while ON.")
    mean_on_s: Seconds = Field(description="Mean length of an ON period, exponential.")
    mean_off_s: Seconds = Field(description="Mean length of a silence, exponential.")


class Modulated(_OpenLoop):
    """Busy and quiet times, none of them silent: gamma gaps whose rate changes every period_s, to
    one drawn from a gamma distribution. A Cox process where cv is 1."""

    kind: Literal["modulated"]
    rate_per_s: Rate = Field(description="Mean requests a second.")
    period_s: Seconds = Field(description="How long each rate lasts.")
    rate_cv: Variation = Field(
        description="Coefficient of variation of the rates, standard deviation / mean."
    )
    cv: Variation = Field(
        default=1.0,
        description="Coefficient of variation of the gaps while the rate stays. 1 is Poisson.",
    )


class Replay(_OpenLoop):
    """The due times of a trace, the first request at 0."""

    kind: Literal["replay"]
    path: FilePath = Field(description="Trace file; relative to the workload file.")
    time_scale: Factor = Field(
        default=1.0,
        description="Every gap is multiplied by this: 0.5 replays twice as fast, 2 half as fast.",
    )


class LinearRamp(_OpenLoop):
    """A Poisson process whose rate changes by the same amount every second.

    Without num_requests: all requests within duration_s, a number that varies with the seed.
    """

    kind: Literal["linear_ramp"]
    start_rate_per_s: AnyRate = Field(description="Requests a second at 0.")
    end_rate_per_s: AnyRate = Field(
        description="Requests a second at duration_s, and from then on."
    )
    duration_s: Seconds = Field(description="How long the rate changes.")

    @model_validator(mode="after")
    def _some(self) -> Self:
        if self.start_rate_per_s == 0 == self.end_rate_per_s:
            raise DisagreementError(
                "has rates of 0 at both ends", "a rate above 0 at the start or at the end"
            )
        return self


class ExponentialRamp(_OpenLoop):
    """A Poisson process whose rate changes by the same factor every second.

    Without num_requests: all requests within duration_s, a number that varies with the seed.
    """

    kind: Literal["exponential_ramp"]
    start_rate_per_s: Rate = Field(description="Requests a second at 0.")
    end_rate_per_s: Rate = Field(description="Requests a second at duration_s, and from then on.")
    duration_s: Seconds = Field(description="How long the rate changes.")


class Client(Part):
    """One of many independent senders."""

    rate_per_s: Rate = Field(description="Mean requests a second.")
    cv: Variation = Field(default=1.0, description="Coefficient of variation of its gaps.")
    family: Literal["gamma", "weibull"] = Field(
        default="gamma", description="Distribution of its gaps."
    )


class Clients(_OpenLoop):
    """Many independent senders at once, each a renewal process that has been running for long."""

    kind: Literal["clients"]
    clients: tuple[Client, ...] = Field(min_length=1, description="The senders.")


StageArrivals = Annotated[
    AtOnce | Poisson | Constant | Gamma | OnOff | Modulated | LinearRamp | ExponentialRamp,
    Field(discriminator="kind"),
]


class Stage(Part):
    """One phase of a load: an arrival process for a time, or for a number of requests."""

    arrivals: StageArrivals
    duration_s: Seconds | None = Field(
        default=None, description="How long it lasts; what is due later is not sent."
    )
    requests: Requests | None = Field(
        default=None, description="How many requests it has; the next stage begins at the last."
    )

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if isinstance(self.arrivals, LinearRamp | ExponentialRamp):
            if (self.duration_s, self.requests) != (None, None):
                allowed = "a ramp to end with its own duration_s"
                raise DisagreementError(f"has {self._end()} beside a ramp", allowed)
        elif (self.duration_s is None) == (self.requests is None):
            raise DisagreementError(f"has {self._end()}", "either duration_s or requests")
        elif isinstance(self.arrivals, AtOnce) and self.requests is None:
            allowed = "requests, as everything at once takes no time"
            raise DisagreementError(f"has {self._end()}", allowed)
        cap = self.arrivals.max_concurrency
        if cap is not None:
            allowed = "it beside the stages, as it holds for all of them"
            raise DisagreementError(f"has max_concurrency {cap} in its arrivals", allowed)
        return self

    def _end(self) -> str:
        given = {"duration_s": self.duration_s, "requests": self.requests}
        said = [f"{name} {value:g}" for name, value in given.items() if value is not None]
        return " and ".join(said) or "neither duration_s nor requests"


class Stages(_OpenLoop):
    """One phase after the other, each with its own arrival process."""

    kind: Literal["stages"]
    stages: tuple[Stage, ...] = Field(min_length=1, description="The phases, in order.")


Arrivals = Annotated[
    ClosedLoop
    | AtOnce
    | Poisson
    | Constant
    | Gamma
    | OnOff
    | Modulated
    | Replay
    | LinearRamp
    | ExponentialRamp
    | Clients
    | Stages,
    Field(discriminator="kind"),
]
