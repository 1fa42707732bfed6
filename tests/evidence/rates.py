"""How often the interval of a ratio of two throughputs misses, its stretches as pairs and not.

    python -m tests.evidence.rates

Two runs of one server are sent the same requests at the same times. What differs is how long each
takes, by chance, from run to run: the ratio is 1. A server of four slots, first come first served;
lengths are lognormal (sigma 0.8), arrivals Poisson; the window is from the tenth part of the
arrivals to the last of them, as a steady window is.
"""

from __future__ import annotations

import argparse

import numpy as np
from llmbench.harness.comparison.observed import STRETCHES
from llmbench.harness.stats.bootstrap import Sample, Statistic, compare_samples
from numpy.typing import NDArray

Floats = NDArray[np.float64]
SLOTS, BUSY, NOISE = 4, (0.4, 0.8, 0.95), (0.05, 0.3)
RESAMPLES = 400


def served(arrivals_s: Floats, takes_s: Floats) -> Floats:
    """When each request is begun."""
    free_s = np.zeros(SLOTS)
    begun_s = np.empty(len(arrivals_s))
    for at, (arrival_s, length_s) in enumerate(zip(arrivals_s, takes_s, strict=True)):
        slot = free_s.argmin()
        begun_s[at] = max(arrival_s, free_s[slot])
        free_s[slot] = begun_s[at] + length_s
    return begun_s


def rates(arrivals_s: Floats, tokens: NDArray[np.int64], takes_s: Floats) -> Sample:
    """Tokens a second in each stretch of the window, a request's spread evenly over its service."""
    begun_s = served(arrivals_s, takes_s)
    times_s = np.concatenate(
        [
            start + length * np.arange(1, count + 1) / count
            for start, length, count in zip(begun_s, takes_s, tokens, strict=True)
        ]
    )
    window = (arrivals_s[len(arrivals_s) // 10], arrivals_s[-1])
    held, _ = np.histogram(times_s, bins=STRETCHES, range=window)
    return Sample.one_each(held.astype(np.float64) * STRETCHES / (window[1] - window[0]))


def load(count: int, busy: float, noise: float, rng: np.random.Generator) -> tuple[Sample, Sample]:
    tokens = np.maximum(4, rng.lognormal(3.5, 0.8, count)).astype(np.int64)
    arrivals_s = np.cumsum(rng.exponential(tokens.mean() / SLOTS / busy, count))
    one, other = (
        rates(arrivals_s, tokens, np.multiply(tokens, np.exp(rng.normal(0, noise, count))))
        for _ in range(2)
    )
    return one, other


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=400)
    parser.add_argument("--requests", type=int, nargs="+", default=[120, 300])
    asked = parser.parse_args()
    rng = np.random.default_rng(0)
    print("| requests | busy | differ by | no pairs | pairs |")
    print("|---|---|---|---|---|")
    for count in asked.requests:
        for busy in BUSY:
            for noise in NOISE:
                loads = [load(count, busy, noise, rng) for _ in range(asked.trials)]
                cells = [said(loads, paired) for paired in (False, True)]
                print(f"| {count} | {busy:.0%} | {noise:.0%} | {' | '.join(cells)} |", flush=True)


def said(loads: list[tuple[Sample, Sample]], paired: bool) -> str:
    found = [
        compare_samples(*one, Statistic(), paired=paired, resamples=RESAMPLES, seed=at)
        for at, one in enumerate(loads)
    ]
    missed = np.mean([not one.low <= 1 <= one.high for one in found])
    width = np.median([one.high - one.low for one in found])
    return f"{missed:.1%}, {width:.1%}"


if __name__ == "__main__":
    main()
