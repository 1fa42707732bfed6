"""How many tokens go in and come out, as it stands in a workload file."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from .base import DisagreementError, Part
from .bounds import (
    Correlation,
    Edge,
    FilePath,
    Log,
    LogSpread,
    Share,
    Spread,
    Tokens,
    TokensHeld,
    Weight,
)


def _check_bounds(min_tokens: int, max_tokens: int | None) -> None:
    if max_tokens is not None and max_tokens < min_tokens:
        allowed = f"max_tokens of at least min_tokens ({min_tokens})"
        raise DisagreementError(f"has max_tokens {max_tokens}", allowed)


class FixedLength(Part):
    """Always the same length."""

    kind: Literal["fixed"]
    tokens: Tokens


class UniformLength(Part):
    """Every whole number from min_tokens to max_tokens, both included, equally likely."""

    kind: Literal["uniform"]
    min_tokens: Tokens
    max_tokens: Tokens

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        _check_bounds(self.min_tokens, self.max_tokens)
        return self


class _Bounded(Part):
    min_tokens: Tokens = 1
    max_tokens: Tokens | None = Field(
        default=None,
        description="The distribution is cut off here: its mass beyond is spread over what "
        "remains, not heaped on the bound (clipping is what --max-input-len does).",
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        _check_bounds(self.min_tokens, self.max_tokens)
        return self


class NormalLength(_Bounded):
    """Normal(mean, std) given that it lies in [min_tokens, max_tokens], rounded."""

    kind: Literal["normal"]
    mean: TokensHeld = Field(
        description="Mean in tokens, of the distribution before it is cut off."
    )
    std: Spread = Field(description="Standard deviation in tokens, before it is cut off.")


class LognormalLength(_Bounded):
    """exp(Normal(mu, sigma)) given that it lies in [min_tokens, max_tokens], rounded."""

    kind: Literal["lognormal"]
    mu: Log = Field(description="Mean of the natural logarithm of the length; e^mu: the median.")
    sigma: LogSpread = Field(description="Standard deviation of the natural logarithm.")


class QuantileLength(Part):
    """A measured distribution, given by its quantiles."""

    kind: Literal["quantiles"]
    points: tuple[tuple[Share, Edge], ...] = Field(
        min_length=2,
        description="[probability, tokens] pairs from probability 0 to 1; between two of them "
        "the logarithm of the length is linear in the probability.",
    )

    @model_validator(mode="after")
    def _monotone(self) -> Self:
        probabilities = [probability for probability, _ in self.points]
        tokens = [tokens for _, tokens in self.points]
        if probabilities[0] != 0 or probabilities[-1] != 1:
            problem = f"has probabilities from {probabilities[0]:g} to {probabilities[-1]:g}"
            raise DisagreementError(problem, "probabilities that begin with 0 and end with 1")
        for a, b in pairwise(probabilities):
            if a >= b:
                problem = f"has probability {b:g} after {a:g}"
                raise DisagreementError(problem, "probabilities in increasing order")
        for a, b in pairwise(tokens):
            if a > b:
                raise DisagreementError(
                    f"has tokens {b:g} after {a:g}", "tokens that never decrease"
                )
        return self


class HistogramLength(Part):
    """A measured distribution, counted in bins.

    A bin holds the whole numbers from its lower edge up to, and without, its upper edge; all of
    them are equally likely.
    """

    kind: Literal["histogram"]
    edges: tuple[Edge, ...] = Field(
        min_length=2, description="Edges of the bins in increasing order, one more than bins."
    )
    counts: tuple[Weight, ...] = Field(
        min_length=1, description="How many lengths each bin holds, or its share."
    )

    @model_validator(mode="after")
    def _matched(self) -> Self:
        if len(self.edges) != len(self.counts) + 1:
            allowed = f"{len(self.counts) + 1} edges for {len(self.counts)} counts"
            raise DisagreementError(f"has {len(self.edges)} edges", allowed)
        for a, b in pairwise(self.edges):
            if a >= b:
                raise DisagreementError(f"has edge {b:g} after {a:g}", "edges in increasing order")
        if not sum(self.counts) > 0:
            raise DisagreementError("has counts of 0 alone", "a count above 0")
        for (low, high), count in zip(pairwise(self.edges), self.counts, strict=True):
            if count and math.ceil(low) >= high:
                problem = f"counts {count:g} in the bin from {low:g} to {high:g}"
                raise DisagreementError(problem, "a whole number in every bin that is counted")
        return self


Length = Annotated[
    FixedLength | UniformLength | NormalLength | LognormalLength | QuantileLength | HistogramLength,
    Field(discriminator="kind"),
]


class SampledLengths(Part):
    """Input and output lengths drawn together."""

    kind: Literal["sampled"]
    input: Length
    output: Length
    correlation: Correlation = Field(
        default=0.0,
        description="Correlation of the two normal variables behind a pair (a Gaussian copula): "
        "0 draws them independently, and each length keeps its own distribution whatever it is.",
    )


class TraceLengths(Part):
    """The pairs of a trace, in its order or drawn from it."""

    kind: Literal["trace"]
    path: FilePath = Field(description="Trace file; relative to the workload file.")
    order: Literal["file", "sampled"] = Field(
        default="file",
        description="file: row 1, 2, 3, … once each. sampled: rows drawn with replacement.",
    )


class PairLengths(Part):
    """Measured pairs of input and output lengths, drawn together with replacement."""

    kind: Literal["pairs"]
    pairs: tuple[tuple[Tokens, Tokens], ...] = Field(
        default=(), description="[input tokens, output tokens], … as they were measured."
    )
    path: FilePath | None = Field(
        default=None,
        description="Or a CSV with the columns input_tokens and output_tokens; relative to the "
        "workload file.",
    )

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if bool(self.pairs) == (self.path is not None):
            problem = "has both pairs and a path" if self.pairs else "has neither pairs nor a path"
            raise DisagreementError(problem, "either pairs or the path of a CSV")
        return self


class TextLengths(Part):
    """Inputs as long as the texts are; for prompts that are texts."""

    kind: Literal["text"]
    output: Length | None = Field(
        default=None, description="Left out: as long as the reply that the data has."
    )


Lengths = Annotated[
    SampledLengths | TraceLengths | PairLengths | TextLengths, Field(discriminator="kind")
]
