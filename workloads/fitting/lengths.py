"""Which distribution has lengths as a trace does, and how input and output go together."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..lengths import Tokens, quantile, sample_pairs
from ..spec import FixedLength, Length, LognormalLength, QuantileLength

# The largest distance of a lognormal's cumulative distribution from the trace's that is taken for
# a fit; quantiles come nearer with any trace, but are 30 numbers.
NEAR = 0.05
_DRAWS = 40_000
# Close together where tails are long: between two of them the logarithm goes straight, which lies
# above a tail that bends, and few requests there have a large part of all tokens.
_PROBABILITIES = (
    *(0.0, 0.01, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5),
    *(0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9),
    *(0.92, 0.95, 0.97, 0.98, 0.99, 0.995, 0.9975, 0.999, 0.9995, 1.0),
)


class FittedLength(NamedTuple):
    """A distribution, its Kolmogorov distance from the trace, and a lognormal's beside it."""

    length: Length
    distance: float
    lognormal_distance: float


def fit_length(tokens: Tokens) -> FittedLength:
    """tokens: [requests], each at least 1."""
    if tokens.min() == tokens.max():
        return FittedLength(FixedLength(kind="fixed", tokens=int(tokens[0])), 0.0, 0.0)
    logs = np.log(tokens)
    lognormal = LognormalLength(
        kind="lognormal",
        mu=round(float(logs.mean()), 4),
        sigma=max(round(float(logs.std()), 4), 1e-4),
        max_tokens=int(tokens.max()),
    )
    apart = kolmogorov(lognormal, tokens)
    if apart <= NEAR:
        return FittedLength(lognormal, apart, apart)
    points = zip(_PROBABILITIES, np.quantile(tokens, _PROBABILITIES).tolist(), strict=True)
    measured = QuantileLength(
        kind="quantiles", points=tuple((p, max(1.0, round(value, 1))) for p, value in points)
    )
    return FittedLength(measured, kolmogorov(measured, tokens), apart)


def evenly_drawn(length: Length) -> Tokens:
    """[20 000] tokens, ascending, at even steps of probability: what it is, without chance."""
    return np.sort(quantile(length, (np.arange(20_000) + 0.5) / 20_000))


def kolmogorov(length: Length, tokens: Tokens) -> float:
    """The largest distance between the two cumulative distributions, at whole numbers of tokens."""
    ours = evenly_drawn(length)
    values = np.unique(np.concatenate((ours, tokens)))
    found = np.searchsorted(np.sort(tokens), values, side="right") / len(tokens)
    expected = np.searchsorted(ours, values, side="right") / len(ours)
    return float(np.abs(found - expected).max())


def copula_correlation(pairs: Tokens, inputs: Length, outputs: Length) -> float:
    """The Gaussian copula's parameter that gives drawn pairs the linear correlation of `pairs`.

    By bisection, as the one grows with the other (NORTA: Cario and Nelson, Modeling and generating
    random vectors with arbitrary marginal distributions and correlation matrix, 1997). 0 where a
    length never changes.
    """
    wanted = linear_correlation(pairs)
    if wanted == 0:
        return 0.0
    low, high = -1.0, 1.0
    while high - low > 1e-3:
        middle = (low + high) / 2
        found = drawn_correlation(inputs, outputs, middle)
        low, high = (middle, high) if found < wanted else (low, middle)
    return round((low + high) / 2, 3)


def drawn_correlation(inputs: Length, outputs: Length, copula: float) -> float:
    """The linear correlation of many pairs drawn through a copula."""
    drawn = sample_pairs(_DRAWS, inputs, outputs, copula, np.random.default_rng(0))
    return linear_correlation(drawn)


def linear_correlation(pairs: Tokens) -> float:
    """Pearson's; 0 where a length never changes."""
    if (pairs.min(axis=0) == pairs.max(axis=0)).any():
        return 0.0
    return float(np.corrcoef(pairs[:, 0], pairs[:, 1]).item(0, 1))
