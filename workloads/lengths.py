"""How long requests are: quantile functions of lengths, and pairs drawn through a Gaussian copula.

A pair starts as two standard normal variables with the asked correlation. Each becomes a
probability, u = Phi(z), and then a length, by the quantile function of its distribution. So the
pair is drawn jointly, and each length has exactly its own distribution whatever the correlation
(Nelsen, An Introduction to Copulas, 2006, section 2.3).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from .api import RequestShape
from .spec import (
    FixedLength,
    HistogramLength,
    Length,
    LognormalLength,
    NormalLength,
    QuantileLength,
    UniformLength,
)
from .spec.bounds import MOST_TOKENS

Tokens = NDArray[np.int64]
Probabilities = NDArray[np.float64]

_NORMAL = NormalDist()
# Phi^-1 has no value at 0 and 1, where rounding can put a probability.
_SMALLEST_U = 2.0**-53


def sample_pairs(
    num_requests: int,
    input_length: Length,
    output_length: Length,
    correlation: float,
    rng: np.random.Generator,
) -> Tokens:
    """[num_requests, 2] tokens: input, output, each at least 1."""
    z = rng.standard_normal((num_requests, 2))
    z_output = correlation * z[:, 0] + math.sqrt(1 - correlation**2) * z[:, 1]
    return np.stack(
        (quantile(input_length, _phi(z[:, 0])), quantile(output_length, _phi(z_output))), axis=1
    )


def trace_pairs(rows: Sequence[RequestShape]) -> Tokens:
    """[len(rows), 2] tokens: input, output, as the trace has them."""
    return np.array([(row.input_tokens, row.output_tokens) for row in rows], dtype=np.int64)


def quantile(length: Length, u: Probabilities) -> Tokens:
    """The length below which a share `u` lies; u in [0, 1], any shape."""
    match length:
        case FixedLength(tokens=tokens):
            return np.full(u.shape, tokens, dtype=np.int64)
        case UniformLength(min_tokens=low, max_tokens=high):
            return np.minimum(low + np.floor(u * (high - low + 1)), high).astype(np.int64)
        case NormalLength(mean=mean, std=std):
            low = float(length.min_tokens)
            high = MOST_TOKENS if length.max_tokens is None else length.max_tokens
            tokens = _cut_off_normal(NormalDist(mean, std), u, low, float(high))
            return _whole(np.clip(tokens, low, high))
        case LognormalLength():
            return _lognormal_quantile(length, u)
        case QuantileLength(points=points):
            probabilities, tokens = np.array(points).T
            return _whole(np.exp(np.interp(u, probabilities, np.log(tokens))))
        case HistogramLength(edges=edges, counts=counts):
            return _histogram_quantile(np.array(edges), np.array(counts), u)


def _lognormal_quantile(length: LognormalLength, u: Probabilities) -> Tokens:
    low = math.log(length.min_tokens)
    high = math.inf if length.max_tokens is None else math.log(length.max_tokens)
    logs = _cut_off_normal(NormalDist(length.mu, length.sigma), u, low, high)
    # Where all the mass lies far outside the bounds, F(min) and F(max) agree to the last bit.
    return _whole(np.clip(np.exp(logs), length.min_tokens, length.max_tokens or MOST_TOKENS))


def _cut_off_normal(
    normal: NormalDist, u: Probabilities, low: float, high: float
) -> NDArray[np.float64]:
    """Of a normal distribution cut off at low and high: u is spread over [F(low), F(high)].

    Equivalent to drawing again until a value lies within the bounds, at one draw a value.
    """
    below = normal.cdf(low) if low > -math.inf else 0.0
    up_to = normal.cdf(high) if high < math.inf else 1.0
    inside = np.clip(below + u * (up_to - below), _SMALLEST_U, 1 - _SMALLEST_U)
    return np.array([normal.inv_cdf(p) for p in inside.tolist()])


def _histogram_quantile(
    edges: NDArray[np.float64], counts: NDArray[np.float64], u: Probabilities
) -> Tokens:
    """A bin by the cumulated counts, then one of the whole numbers that it holds."""
    lowest = np.ceil(edges[:-1])
    numbers = np.ceil(edges[1:]) - lowest
    cumulated = np.cumsum(counts)
    at = u * cumulated[-1]
    # The last bin that is counted takes u = 1.
    last = int(np.flatnonzero(counts)[-1])
    chosen = np.minimum(np.searchsorted(cumulated, at, side="right"), last)
    within = (at - (cumulated - counts)[chosen]) / counts[chosen]
    place = np.minimum(np.floor(within * numbers[chosen]), numbers[chosen] - 1)
    return (lowest[chosen] + np.maximum(place, 0)).astype(np.int64)


def _whole(tokens: NDArray[np.float64]) -> Tokens:
    return np.maximum(np.rint(tokens), 1).astype(np.int64)


def _phi(z: NDArray[np.float64]) -> Probabilities:
    return np.array([_NORMAL.cdf(value) for value in z.tolist()])
