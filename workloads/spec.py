"""The workload file: what may stand in it, as data. Every field's description is its documentation.

    name: chat
    num_requests: 200
    arrivals: {kind: poisson, rate_per_s: 2.0}
    lengths:
      kind: sampled
      input: {kind: lognormal, mu: 6.63, sigma: 0.99, max_tokens: 4096}
      output: {kind: fixed, tokens: 64}

`WorkloadSpec.model_json_schema()` is the same as a JSON Schema.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


# --- arrivals: when requests are due ---------------------------------------------------------


class ClosedLoop(_Part):
    """A request is due when a slot frees: the load adapts to the engine, and nothing queues."""

    kind: Literal["closed_loop"]
    max_concurrency: PositiveInt = Field(description="Requests in flight at all times.")


class _OpenLoop(_Part):
    max_concurrency: PositiveInt | None = Field(
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
    rate_per_s: PositiveFloat = Field(description="Mean requests a second.")


class Constant(_OpenLoop):
    """One request every 1 / rate_per_s seconds, exactly."""

    kind: Literal["constant"]
    rate_per_s: PositiveFloat = Field(description="Requests a second.")


class Gamma(_OpenLoop):
    """Gamma-distributed gaps: cv below 1 is smoother than Poisson, above 1 burstier."""

    kind: Literal["gamma"]
    rate_per_s: PositiveFloat = Field(description="Mean requests a second.")
    cv: PositiveFloat = Field(
        description="Coefficient of variation of the gaps, standard deviation / mean. 1 is "
        "Poisson; vLLM's burstiness is 1 / cv^2."
    )


class OnOff(_OpenLoop):
    """Poisson arrivals while ON, silence while OFF: an interrupted Poisson process."""

    kind: Literal["on_off"]
    on_rate_per_s: PositiveFloat = Field(description="Requests a second while ON.")
    mean_on_s: PositiveFloat = Field(description="Mean length of an ON period, exponential.")
    mean_off_s: PositiveFloat = Field(description="Mean length of a silence, exponential.")


class Replay(_OpenLoop):
    """The due times of a trace, the first request at 0."""

    kind: Literal["replay"]
    path: Path = Field(description="Trace file; relative to the workload file.")
    time_scale: PositiveFloat = Field(
        default=1.0,
        description="Every gap is multiplied by this: 0.5 replays twice as fast, 2 half as fast.",
    )


Arrivals = Annotated[
    ClosedLoop | AtOnce | Poisson | Constant | Gamma | OnOff | Replay,
    Field(discriminator="kind"),
]


# --- lengths: how many tokens go in and come out ---------------------------------------------


def _check_bounds(min_tokens: int, max_tokens: int | None) -> None:
    if max_tokens is not None and max_tokens < min_tokens:
        raise ValueError(f"max_tokens of at least min_tokens ({min_tokens})")


class FixedLength(_Part):
    """Always the same length."""

    kind: Literal["fixed"]
    tokens: PositiveInt


class UniformLength(_Part):
    """Every whole number from min_tokens to max_tokens, both included, equally likely."""

    kind: Literal["uniform"]
    min_tokens: PositiveInt
    max_tokens: PositiveInt

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        _check_bounds(self.min_tokens, self.max_tokens)
        return self


class LognormalLength(_Part):
    """exp(Normal(mu, sigma)) given that it lies in [min_tokens, max_tokens], rounded."""

    kind: Literal["lognormal"]
    mu: float = Field(description="Mean of the natural logarithm of the length; e^mu: the median.")
    sigma: PositiveFloat = Field(description="Standard deviation of the natural logarithm.")
    min_tokens: PositiveInt = 1
    max_tokens: PositiveInt | None = Field(
        default=None,
        description="The distribution is cut off here: its mass beyond is spread over what "
        "remains, not heaped on the bound (clipping is what --max-input-len does).",
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        _check_bounds(self.min_tokens, self.max_tokens)
        return self


class QuantileLength(_Part):
    """A measured distribution, given by its quantiles."""

    kind: Literal["quantiles"]
    points: tuple[tuple[float, PositiveFloat], ...] = Field(
        min_length=2,
        description="[probability, tokens] pairs from probability 0 to 1; between two of them "
        "the logarithm of the length is linear in the probability.",
    )

    @model_validator(mode="after")
    def _monotone(self) -> Self:
        probabilities = [probability for probability, _ in self.points]
        tokens = [tokens for _, tokens in self.points]
        if probabilities[0] != 0 or probabilities[-1] != 1:
            raise ValueError("probabilities that begin with 0 and end with 1")
        if any(a >= b for a, b in pairwise(probabilities)):
            raise ValueError("probabilities in increasing order")
        if any(a > b for a, b in pairwise(tokens)):
            raise ValueError("tokens that never decrease")
        return self


Length = Annotated[
    FixedLength | UniformLength | LognormalLength | QuantileLength, Field(discriminator="kind")
]


class SampledLengths(_Part):
    """Input and output lengths drawn together."""

    kind: Literal["sampled"]
    input: Length
    output: Length
    correlation: float = Field(
        default=0.0,
        ge=-1,
        le=1,
        description="Correlation of the two normal variables behind a pair (a Gaussian copula): "
        "0 draws them independently, and each length keeps its own distribution whatever it is.",
    )


class TraceLengths(_Part):
    """The pairs of a trace, in its order or drawn from it."""

    kind: Literal["trace"]
    path: Path = Field(description="Trace file; relative to the workload file.")
    order: Literal["file", "sampled"] = Field(
        default="file",
        description="file: row 1, 2, 3, … once each. sampled: rows drawn with replacement.",
    )


Lengths = Annotated[SampledLengths | TraceLengths, Field(discriminator="kind")]


# --- prompts and the whole --------------------------------------------------------------------


class CorpusPrompts(_Part):
    """Token ids cut from a tokenised text, each prompt at an offset of its own."""

    kind: Literal["corpus"] = "corpus"
    shared_prefix_tokens: NonNegativeInt = Field(
        default=0,
        description="Tokens that all prompts begin with, as with one system prompt; part of each "
        "input length. A shorter prompt shares all but its last token.",
    )


class WorkloadSpec(_Part):
    """A workload: how many requests, when, how long, of what."""

    name: str = Field(default="custom", min_length=1, description="Shown in results and reports.")
    description: str = Field(default="", description="One line on what this load stands for.")
    source: str = Field(default="", description="Where the numbers come from.")
    num_requests: PositiveInt | None = Field(
        default=None, description="Requests to send. Left out with a trace: all of its rows."
    )
    arrivals: Arrivals
    lengths: Lengths
    prompts: CorpusPrompts = CorpusPrompts()
    samples: PositiveInt = Field(
        default=1, description="Replies asked for each prompt (parallel sampling)."
    )
    fit: Literal["error", "clip"] = Field(
        default="error",
        description="When a request is longer than the model: refuse the run, or clip its input "
        "(and a reply beyond half the model's length) and say so in the result.",
    )
    adjustments: tuple[str, ...] = Field(
        default=(),
        description="What was changed from the workload's own form, in words; kept in results.",
    )

    @model_validator(mode="after")
    def _counted(self) -> Self:
        from_trace = isinstance(self.arrivals, Replay) or (
            isinstance(self.lengths, TraceLengths) and self.lengths.order == "file"
        )
        if self.num_requests is None and not from_trace:
            raise ValueError("num_requests, as no trace gives the number of requests")
        return self
