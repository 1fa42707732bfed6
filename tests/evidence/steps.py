"""How often a history's test calls a step that is not there, where runs follow their neighbours,
and how often it finds one that is: of one quantity alone, if values are permuted and as it is; and
of twelve together.

python -m tests.evidence.steps

Series of x_t = phi x_{t-1} + e_t, of normal values with variance 1.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable

import numpy as np
from llmbench.harness.stats.edivisive import SIGNIFICANCE, best_split, change_points
from llmbench.harness.stats.step_family import family_steps
from numpy.typing import NDArray

Floats = NDArray[np.float64]

PERMUTATIONS = 199
PHIS = (0.0, 0.3, 0.5, 0.8)
# As many as `llmbench history` looks at.
QUANTITIES = 12


def following(noise: Floats, phi: float) -> Floats:
    """Of the same variance, 1, each value following the one before."""
    values = noise.copy()
    for at in range(1, len(values)):
        values[at] = phi * values[at - 1] + math.sqrt(1 - phi**2) * values[at]
    return values


def series(rng: np.random.Generator, count: int, phi: float, step: float) -> Floats:
    """step: of the second half, in standard deviations."""
    values = following(rng.standard_normal(count), phi)
    values[count // 2 :] += step
    return values


def by_value(rng: np.random.Generator, values: Floats) -> bool:
    """As if the values were independent."""
    _, found = best_split(values)
    orders = (rng.permutation(values) for _ in range(PERMUTATIONS))
    as_good = sum(best_split(order)[1] >= found * (1 - 1e-9) for order in orders)
    return (1 + as_good) / (1 + PERMUTATIONS) <= SIGNIFICANCE


def by_innovation(rng: np.random.Generator, values: Floats) -> bool:
    """As `llmbench history` does."""
    seed = int(rng.integers(2**31))
    return bool(change_points(values.tolist(), permutations=PERMUTATIONS, seed=seed))


METHODS = (by_value, by_innovation)


def family(rng: np.random.Generator, count: int, phi: float, step: float) -> tuple[bool, bool]:
    """Of `QUANTITIES` quantities the first steps, if any does: whether any other is called, and
    whether that one is."""
    first = series(rng, count, phi, step)
    others = [series(rng, count, phi, 0.0) for _ in range(QUANTITIES - 1)]
    found, *chance = family_steps([one.tolist() for one in (first, *others)])
    return any(chance), bool(found)


def table(
    title: str,
    cases: tuple[tuple[int, float], ...],
    shares: Callable[[int, float, float], list[float]],
) -> None:
    print(f"\n| {title} | step, sd | " + " | ".join(f"phi {phi}" for phi in PHIS) + " |")
    print("|---|---|" + "---|" * len(PHIS))
    for count, step in cases:
        cells = [
            ", ".join(f"{100 * share:.1f}" for share in shares(count, phi, step)) for phi in PHIS
        ]
        print(f"| {count} | {step} | " + " | ".join(cells) + " |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--series", type=int, default=200)
    parser.add_argument("--families", type=int, default=40)
    asked = parser.parse_args()
    rng = np.random.default_rng()

    def alone(count: int, phi: float, step: float) -> list[float]:
        found = np.zeros(len(METHODS))
        for _ in range(asked.series):
            values = series(rng, count, phi, step)
            found += [method(rng, values) for method in METHODS]
        return list(found / asked.series)

    def together(count: int, phi: float, step: float) -> list[float]:
        """Any that does not step; and the one that does."""
        found = np.zeros(2)
        for _ in range(asked.families):
            found += family(rng, count, phi, step)
        shares = list(found / asked.families)
        return shares if step else shares[:1]

    table("values", ((12, 0), (30, 0), (60, 0), (12, 5), (30, 3), (60, 2)), alone)
    table(f"values of {QUANTITIES} quantities", ((30, 0), (30, 3)), together)


if __name__ == "__main__":
    main()
