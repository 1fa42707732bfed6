"""A likelihood-ratio scan for a step, held against the test of a history: where it would find more
at as many false alarms, and where less.

python -m tests.evidence.steps_shifted

`now` is the history's: E-divisive, its innovations permuted at the upper end of phi's 95 %
interval. `shifted` is the largest F of a level shift over all splits, in values freed of what the
one before explains (Prais and Winsten), calibrated by permuting these; as `now` it is asked at a
phi of none first, and then at the upper end of what neighbours show between the steps, the
one-sided 90 % one: there it calls about as many steps that are none. Of 1000 series without a step
and 100 with one a cell it takes some minutes.
"""

from __future__ import annotations

import argparse
import math
from functools import lru_cache

import numpy as np
from llmbench.harness.stats.autoregression import MOST, lag_one
from llmbench.harness.stats.edivisive import SIGNIFICANCE

from .steps import PERMUTATIONS, Floats, by_innovation, following

PHIS = (0.0, 0.3, 0.5)
UPPER = 1.282
# Runs, the step in standard deviations, the run that it begins at, noise.
NULL = ((10, 0, 5, "normal"), (20, 0, 10, "normal"), (30, 0, 15, "normal"), (60, 0, 30, "normal"))
NULL_TAILED = ((30, 0, 15, "t3"),)
STEPS = (
    *((30, step, 15, "normal") for step in (2, 3, 4)),
    *((30, 3, at, "normal") for at in (6, 24, 27)),
    *((12, 5, 6, "normal"), (20, 4, 17, "normal")),
    *((30, 3, 15, "t3"), (20, 4, 17, "t3")),
)


def drawn(rng: np.random.Generator, count: int, noise: str) -> Floats:
    """Of variance 1; t3: Student's, as of runs of which some go astray."""
    values = rng.standard_normal(count)
    return rng.standard_t(3, count) / math.sqrt(3) if noise == "t3" else values


def by_shift(rng: np.random.Generator, values: Floats) -> bool:
    found = divided(rng, values, 0.0)
    if not found:
        return False
    phi = lag_one(values, found)
    most = min(phi + UPPER * math.sqrt((1 - phi**2) / len(values)), MOST)
    return bool(divided(rng, values, most))


def divided(rng: np.random.Generator, values: Floats, phi: float) -> list[int]:
    """Where every step begins, by splitting what a step parts again."""
    found: list[int] = []
    segments = [(0, len(values))]
    while segments:
        start, end = segments.pop()
        if end - start < 2:
            continue
        at, p = best_shift(rng, values[start:end], phi)
        if p <= SIGNIFICANCE:
            found.append(start + at)
            segments += [(start, start + at), (start + at, end)]
    return sorted(found)


def best_shift(rng: np.random.Generator, values: Floats, phi: float) -> tuple[int, float]:
    """The split whose shift explains most, and the share of permutations that explain as much."""
    whiten, one, shifts = directions(len(values), round(phi, 3))
    rest = whiten @ values
    rest -= (rest @ one) * one
    explained = (shifts @ rest) ** 2
    orders = rng.permuted(np.broadcast_to(rest, (PERMUTATIONS, len(rest))), axis=1)
    orders -= (orders @ one)[:, None] * one
    most = ((orders @ shifts.T) ** 2).max(axis=1) / (orders**2).sum(axis=1)
    as_good = int((most >= explained.max() / (rest @ rest) * (1 - 1e-9)).sum())
    return int(explained.argmax()) + 1, (1 + as_good) / (1 + PERMUTATIONS)


@lru_cache(maxsize=4096)
def directions(count: int, phi: float) -> tuple[Floats, Floats, Floats]:
    """[n, n] that frees values of the one before; a constant in these, and every shift beside it,
    [n] and [n - 1, n], of length 1."""
    whiten = np.eye(count) - phi * np.eye(count, k=-1)
    whiten[0, 0] = math.sqrt(1 - phi**2)
    one = whiten.sum(axis=1)
    one /= np.linalg.norm(one)
    shifts = np.arange(count)[None, :] >= np.arange(1, count)[:, None]
    shifts = shifts @ whiten.T
    shifts -= (shifts @ one)[:, None] * one
    return whiten, one, shifts / np.linalg.norm(shifts, axis=1, keepdims=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--null", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=100)
    asked = parser.parse_args()
    print(
        "| runs | step, sd | from run | noise | " + " | ".join(f"phi {one}" for one in PHIS) + " |"
    )
    print("|---|---|---|---|" + "---|" * len(PHIS))
    for count, step, start, noise in (*NULL, *NULL_TAILED, *STEPS):
        rng = np.random.default_rng(0)
        many = asked.steps if step else asked.null
        cells: list[str] = []
        for phi in PHIS:
            found = np.zeros(2)
            for _ in range(many):
                values = following(drawn(rng, count, noise), phi)
                values[start:] += step
                found += by_innovation(rng, values), by_shift(rng, values)
            cells.append(", ".join(f"{100 * share:.1f}" for share in found / many))
        what = f"{step} | {start + 1} |" if step else "none | |"
        print(f"| {count} | {what} {noise} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
