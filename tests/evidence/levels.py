"""How often the test of a steady window calls a change that is not there, and how often it finds
one that is: of what MSER-5 leaves of 200 bins, as of a run.

    python -m tests.evidence.levels

A reply's tokens are spread evenly over it. Noise is normal, relative to the level.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
from llmbench.harness.metrics.base import Interval
from llmbench.harness.run.window import changed_rate
from llmbench.harness.stats.mser import mser5
from numpy.typing import NDArray

BINS = 200
Floats = NDArray[np.float64]
Draw = Callable[[np.random.Generator], Floats]


def noise(size: float, phi: float, rng: np.random.Generator) -> Floats:
    """Of standard deviation `size`; each value follows the one before by phi."""
    steps = rng.normal(size=BINS + 200)
    found = np.zeros_like(steps)
    for at in range(1, len(steps)):
        found[at] = phi * found[at - 1] + steps[at]
    return size * np.sqrt(1 - phi**2) * found[200:]


def level(shape: Callable[[np.random.Generator], Floats], size: float, phi: float = 0.0) -> Draw:
    return lambda rng: shape(rng) * (1 + noise(size, phi, rng))


def flat(_: np.random.Generator) -> Floats:
    return np.ones(BINS)


def doubled(rng: np.random.Generator) -> Floats:
    return np.where(np.arange(BINS) >= rng.uniform(0.6, 0.8) * BINS, 2.0, 1.0)


def dropped(_: np.random.Generator) -> Floats:
    return np.where(np.arange(BINS) >= 0.6 * BINS, 0.7, 1.0)


def rising(_: np.random.Generator) -> Floats:
    return np.linspace(1, 4, BINS)


def load(count: int, cv: float = 1.0, lengths: float = 0.0, lasts: float = 0.01) -> Draw:
    """Requests at gamma gaps. lengths: sigma of lognormal replies, 64 tokens each where 0. lasts:
    a reply of mean length, as a share of the run."""

    def draw(rng: np.random.Generator) -> Floats:
        due_s = rng.gamma(1 / cv**2, cv**2, count).cumsum()
        tokens = np.maximum(1, 64 * rng.lognormal(-(lengths**2) / 2, lengths, count)).astype(int)
        return _tokens(due_s, tokens, lasts * count / 64)

    return draw


def faster(rng: np.random.Generator) -> Floats:
    """Poisson arrivals of 4/s for 70 s, then of 8/s for 30 s."""
    due_s = np.concatenate(
        [
            np.sort(rng.uniform(0, 70, rng.poisson(280))),
            np.sort(rng.uniform(70, 100, rng.poisson(240))),
        ]
    )
    return _tokens(due_s, np.full(len(due_s), 64), 1 / 64)


def _tokens(due_s: Floats, tokens: NDArray[np.int64], token_s: float) -> Floats:
    times_s = np.concatenate(
        [at + token_s * np.arange(1, count + 1) for at, count in zip(due_s, tokens, strict=True)]
    )
    return np.histogram(times_s, bins=BINS, range=(0, due_s[-1]))[0].astype(np.float64)


NONE: dict[str, Draw] = {
    **{f"AR(1), φ = {phi}": level(flat, 0.3, phi) for phi in (0.0, 0.5, 0.7, 0.9)},
    **{f"Poisson, {count} requests": load(count) for count in (50, 100, 300, 1000, 2000)},
    **{f"gamma gaps, cv 2, {count} requests": load(count, 2.0) for count in (50, 100, 300, 1000)},
    **{f"gamma gaps, cv 3, {count} requests": load(count, 3.0) for count in (50, 100, 300, 1000)},
    **{
        f"lognormal replies, {count} requests": load(count, lengths=1.0)
        for count in (50, 100, 300, 1000)
    },
    **{
        f"lognormal replies of a twentieth of the run, cv {cv:.0f}": load(300, cv, 1.0, 0.05)
        for cv in (1.0, 3.0)
    },
}
CHANGES: dict[str, Draw] = {
    **{f"doubling, noise of {size:.0%}": level(doubled, size) for size in (0.1, 0.3, 0.5)},
    **{f"doubling, noise of 30%, φ = {phi}": level(doubled, 0.3, phi) for phi in (0.5, 0.8)},
    "rise from 1 to 4, noise of 30%": level(rising, 0.3),
    "4/s, then 8/s": faster,
    "drop of 30%, noise of 20%": level(dropped, 0.2),
}


def called(draw: Draw, series: int) -> float:
    """The share of series in which there is no steady state or a change."""
    rng = np.random.default_rng(0)
    found = 0
    for _ in range(series):
        bins = draw(rng).tolist()
        cut = mser5(bins)
        found += cut is None or bool(changed_rate(bins[cut:], Interval(0.0, 1.0)))
    return found / series


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, default=200)
    asked = parser.parse_args()
    for title, draws in (("no change: called", NONE), ("a change: found", CHANGES)):
        print(f"| {title} | |\n|---|---|")
        for name, draw in draws.items():
            print(f"| {name} | {called(draw, asked.series):.1%} |", flush=True)


if __name__ == "__main__":
    main()
