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
from .spec import FixedLength, Length, LognormalLength, QuantileLength, UniformLength

Tokens = NDArray[np.int64]
Probabilities = NDArray[np.float64]

_NORMAL = NormalDist()
# Phi^-1 has no value at 0 and 1, where rounding can put a probability.
_SMALLEST_U = 2.0**-53
# Far beyond any request, and a whole number that a float and an int64 both hold.
_LONGEST_TOKENS = 2**40


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
        case LognormalLength():
            return _lognormal_quantile(length, u)
        case QuantileLength(points=points):
            probabilities, tokens = np.array(points).T
            return _whole(np.exp(np.interp(u, probabilities, np.log(tokens))))


def _lognormal_quantile(length: LognormalLength, u: Probabilities) -> Tokens:
    """Of the distribution cut off at its bounds: u is spread over [F(min), F(max)].

    Equivalent to drawing again until a length lies within the bounds, at one draw a length.
    """
    log = NormalDist(length.mu, length.sigma)
    below = log.cdf(math.log(length.min_tokens)) if length.min_tokens > 1 else 0.0
    up_to = 1.0 if length.max_tokens is None else log.cdf(math.log(length.max_tokens))
    inside = np.clip(below + u * (up_to - below), _SMALLEST_U, 1 - _SMALLEST_U)
    tokens = np.exp([log.inv_cdf(p) for p in inside.tolist()])
    # Where all the mass lies far outside the bounds, F(min) and F(max) agree to the last bit.
    return _whole(np.clip(tokens, length.min_tokens, length.max_tokens or _LONGEST_TOKENS))


def _whole(tokens: NDArray[np.float64]) -> Tokens:
    return np.maximum(np.rint(tokens), 1).astype(np.int64)


def _phi(z: NDArray[np.float64]) -> Probabilities:
    return np.array([_NORMAL.cdf(value) for value in z.tolist()])
