"""Where a series of numbers steps from one level to another: E-divisive.

The energy distance between two stretches is large where their distributions differ, in level or in
spread. The split that makes it largest is a step if as large a one is rare among shuffles of the
stretch; then each part is searched in its turn. Nothing is assumed of the noise but that, between
steps, its order does not matter.

Source: Matteson and James, "A Nonparametric Approach for Multiple Change Point Analysis of
Multivariate Data", Journal of the American Statistical Association 109 (2014), with alpha = 1; its
use on benchmarks: Daly et al., "The Use of Change Point Detection to Identify Software Performance
Regressions in a Continuous Integration System", ICPE 2020.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

SHORTEST = 3  # values on either side of a step: fewer show no level
SHUFFLES = 999
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Step:
    """at: the index of the first value of the new level. before, after: medians of the stretches
    on either side, up to the next steps. p: of the split that found it."""

    at: int
    before: float
    after: float
    p: float


def find_steps(
    values: Sequence[float] | Floats,
    *,
    level: float = 0.01,
    shuffles: int = SHUFFLES,
    seed: int = 0,
) -> tuple[Step, ...]:
    """Every step, in order. level: of each split's test. The seed of the shuffles is fixed."""
    data = np.asarray(values, dtype=np.float64)
    rng = np.random.default_rng(seed)
    found: dict[int, float] = {}
    waiting = [(0, len(data))]
    while waiting:
        start, end = waiting.pop()
        split = _split(data[start:end], level, shuffles, rng)
        if split is not None:
            at, p = start + split[0], split[1]
            found[at] = p
            waiting += [(start, at), (at, end)]
    if not found:
        return ()
    edges = [0, *sorted(found), len(data)]
    medians = [float(np.median(data[a:b])) for a, b in pairwise(edges)]
    return tuple(
        Step(at, before, after, found[at])
        for at, before, after in zip(edges[1:-1], medians, medians[1:], strict=False)
    )


def _split(
    data: Floats, level: float, shuffles: int, rng: np.random.Generator
) -> tuple[int, float] | None:
    """Where, and how rare, or None."""
    if len(data) < 2 * SHORTEST:
        return None
    apart = np.abs(data[:, None] - data[None, :])
    energies = _energies(apart)
    best = float(energies.max())
    beyond = 0
    for _ in range(shuffles):
        order = rng.permutation(len(data))
        beyond += float(_energies(apart[np.ix_(order, order)]).max()) >= best
        # Too many already, whatever the rest brings.
        if beyond + 1 > level * (shuffles + 1):
            return None
    return SHORTEST + int(np.argmax(energies)), (beyond + 1) / (shuffles + 1)


def _energies(apart: Floats) -> Floats:
    """The scaled energy distance of each split into [0, t) and [t, n), for t from SHORTEST to
    n - SHORTEST: nm / (n + m) (2 E|X - Y| - E|X - X'| - E|Y - Y'|), in the paper's equation 5.

    apart: [n, n] distances.
    """
    n = len(apart)
    sums = np.zeros((n + 1, n + 1))
    sums[1:, 1:] = apart.cumsum(axis=0).cumsum(axis=1)
    t = np.arange(SHORTEST, n - SHORTEST + 1)
    left, total = sums[t, t], sums[n, n]
    across = sums[t, n] - left
    right = total - left - 2 * across
    m = n - t
    # Pairs of different members: t (t - 1) and m (m - 1) ordered ones.
    return t * m / n * (2 * across / (t * m) - left / (t * (t - 1)) - right / (m * (m - 1)))
