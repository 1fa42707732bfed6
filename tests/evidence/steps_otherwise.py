"""Another test for a step where runs follow their neighbours, held against the one of a history.

python -m tests.evidence.steps_otherwise

`now` is the history's: E-divisive, its innovations permuted at the most that phi may be.
`regressed` is the largest F of a level shift by generalised least squares, with phi estimated anew
about the two levels of every split, in the series and in each permutation of its innovations: a
bootstrap that knows how uncertain phi is, in the place of a bound (as Diebold and Chen do for
regressions on the value before, "Testing structural stability with endogenous breakpoint", Journal
of Econometrics 70, 1996). `known` is E-divisive at the phi that the series were made with: what
there would be to win.
"""

from __future__ import annotations

import argparse

import numpy as np
from llmbench.harness.stats.autoregression import MOST, from_innovations, innovations, lag_one
from llmbench.harness.stats.edivisive import SIGNIFICANCE, _divided

from .steps import PERMUTATIONS, Floats, by_innovation, series, table

# Values of a level, at least: with fewer there is no correlation within it.
LEAST = 2
CASES = ((12, 0), (30, 0), (60, 0), (12, 5), (30, 3), (60, 2))


def regressed(rng: np.random.Generator, values: Floats) -> bool:
    found, at = largest_f(values[None])
    edge = int(at[0])
    level = np.where(np.arange(len(values)) < edge, values[:edge].mean(), values[edge:].mean())
    phi = lag_one(values, [edge])
    new = np.broadcast_to(innovations(values - level, phi), (PERMUTATIONS, len(values)))
    again = rng.permuted(new, axis=1) @ from_innovations(len(values), phi).T
    as_good = int((largest_f(again)[0] >= found[0] * (1 - 1e-9)).sum())
    return (1 + as_good) / (1 + PERMUTATIONS) <= SIGNIFICANCE


def known(rng: np.random.Generator, values: Floats, phi: float) -> bool:
    seed = int(rng.integers(2**31))
    return bool(_divided(values, phi, SIGNIFICANCE, PERMUTATIONS, seed))


def largest_f(many: Floats) -> tuple[Floats, Floats]:
    """[series, values] -> of each series the largest F over all splits, over its degrees of
    freedom, and where the second level begins."""
    count = many.shape[1]
    each = np.stack([_f_of(many, at) for at in range(LEAST, count - LEAST + 1)])
    return each.max(axis=0), each.argmax(axis=0) + LEAST


def _f_of(many: Floats, at: int) -> Floats:
    """Of the second level's beginning at one place: what the shift explains over what is left."""
    phi = _phi_of(many, at)[:, None]
    shift = np.zeros_like(many)
    shift[:, at:] = 1.0
    one, shift, values = (_whitened(each, phi) for each in (np.ones_like(many), shift, many))
    shift, values = _without(shift, one), _without(values, one)
    rest = _without(values, shift)
    left = (rest**2).sum(axis=1)
    return ((values**2).sum(axis=1) - left) / np.maximum(left, 1e-300)


def _phi_of(many: Floats, at: int) -> Floats:
    """As `lag_one` about two levels, of each series."""
    count = many.shape[1]
    parts = many[:, :at], many[:, at:]
    rest = [part - part.mean(axis=1, keepdims=True) for part in parts]
    squares = sum((one**2).sum(axis=1) for one in rest)
    found = sum((one[:, 1:] * one[:, :-1]).sum(axis=1) for one in rest)
    phi = found / np.maximum(squares, 1e-300)
    return np.clip(phi + (1 + 4 * phi + 1 + 2 * phi) / count, 0.0, MOST)


def _whitened(many: Floats, phi: Floats) -> Floats:
    """Of equal variance and uncorrelated, if the values are of first order (Prais and Winsten)."""
    first = np.sqrt(1 - phi**2) * many[:, :1]
    return np.concatenate([first, many[:, 1:] - phi * many[:, :-1]], axis=1)


def _without(many: Floats, direction: Floats) -> Floats:
    along = (many * direction).sum(axis=1) / (direction**2).sum(axis=1)
    return many - along[:, None] * direction


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--series", type=int, default=200)
    asked = parser.parse_args()
    rng = np.random.default_rng(0)

    def shares(count: int, phi: float, step: float) -> list[float]:
        """Called by the history's test, by regression, and at the true phi."""
        found = np.zeros(3)
        for _ in range(asked.series):
            values = series(rng, count, phi, step)
            ways = by_innovation(rng, values), regressed(rng, values), known(rng, values, phi)
            found += ways
        return list(found / asked.series)

    table("values: now, regressed, known", CASES, shares)


if __name__ == "__main__":
    main()
