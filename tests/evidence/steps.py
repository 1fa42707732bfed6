"""How often a history's test calls a step that is not there, where runs follow their neighbours,
and how often it finds one that is: three ways to permute.

python -m tests.evidence.steps

Series of x_t = phi x_{t-1} + e_t, of normal values with variance 1. Blocks are as long as
Carlstein (Annals of Statistics 14, 1986) says for such a series at the phi that it shows about its
best split, and begin anywhere.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable

import numpy as np
from llmbench.harness.stats.autoregression import lag_one
from llmbench.harness.stats.edivisive import SIGNIFICANCE, best_split, change_points
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Permute = Callable[[Floats], Floats]

PERMUTATIONS = 199
PHIS = (0.0, 0.1, 0.2, 0.3, 0.4)


def series(rng: np.random.Generator, count: int, phi: float, step: float) -> Floats:
    """step: of the second half, in standard deviations."""
    values = rng.standard_normal(count)
    for at in range(1, count):
        values[at] = phi * values[at - 1] + math.sqrt(1 - phi**2) * values[at]
    values[count // 2 :] += step
    return values


def split(values: Floats) -> tuple[int, float]:
    return best_split(np.abs(values[:, None] - values[None, :]))


def shows_step(values: Floats, permute: Permute) -> bool:
    _, found = split(values)
    as_good = sum(split(permute(values))[1] >= found * (1 - 1e-9) for _ in range(PERMUTATIONS))
    return (1 + as_good) / (1 + PERMUTATIONS) <= SIGNIFICANCE


def by_value(rng: np.random.Generator, values: Floats) -> bool:
    """As if the values were independent."""
    return shows_step(values, rng.permutation)


def by_block(rng: np.random.Generator, values: Floats) -> bool:
    count = len(values)
    phi = lag_one(values, [split(values)[0]])
    length = math.ceil((math.sqrt(6) * phi / (1 - phi**2)) ** (2 / 3) * count ** (1 / 3))
    length = min(max(length, 1), count // 4)

    def permute(values: Floats) -> Floats:
        turned = np.roll(values, rng.integers(count))
        blocks = [turned[at : at + length] for at in range(0, count, length)]
        return np.concatenate([blocks[at] for at in rng.permutation(len(blocks))])

    return shows_step(values, permute)


def by_innovation(rng: np.random.Generator, values: Floats) -> bool:
    """As `llmbench history` does."""
    seed = int(rng.integers(2**31))
    return bool(change_points(values.tolist(), permutations=PERMUTATIONS, seed=seed))


METHODS = (by_value, by_block, by_innovation)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--series", type=int, default=500)
    asked = parser.parse_args()
    rng = np.random.default_rng()
    print("| values | step, sd | " + " | ".join(f"phi {phi}" for phi in PHIS) + " |")
    print("|---|---|" + "---|" * len(PHIS))
    for count, step in ((12, 0), (30, 0), (60, 0), (12, 5), (30, 3), (60, 1.5), (60, 2)):
        cells = []
        for phi in PHIS:
            found = np.zeros(len(METHODS))
            for _ in range(asked.series):
                values = series(rng, count, phi, step)
                found += [method(rng, values) for method in METHODS]
            cells.append(", ".join(f"{100 * share:.1f}" for share in found / asked.series))
        print(f"| {count} | {step} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
