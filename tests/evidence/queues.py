"""How often the interval of a ratio of two mean latencies misses, by how long its blocks are.

    python -m tests.evidence.queues

Two runs of one server, first come first served, each with Poisson arrivals and exponential services
of its own, are draws of one load: the ratio of their mean latencies is 1. `ten` blocks are those of
every comparison; `short` ones are as long as the cube root of the number of requests.
"""

from __future__ import annotations

import argparse
import math

import numpy as np
from llmbench.harness.stats.bootstrap import Statistic, compare_samples
from numpy.typing import NDArray

from ..harness.stats.samples import one_each

RESAMPLES = 400


def latencies(count: int, busy: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Of a run that begins with an empty server, in units of a mean service."""
    arrivals = np.cumsum(rng.exponential(1 / busy, count))
    services = rng.exponential(1.0, count)
    found, free = np.empty(count), 0.0
    for at, (arrival, service) in enumerate(zip(arrivals, services, strict=True)):
        free = max(free, arrival) + service
        found[at] = free - arrival
    return found


def missed(count: int, busy: float, block: int | None, trials: int) -> float:
    """The share of trials whose interval does not hold 1."""
    rng = np.random.default_rng(0)
    misses = 0
    for seed in range(trials):
        one, other = (one_each(latencies(count, busy, rng)) for _ in range(2))
        estimate = compare_samples(
            one, other, Statistic(), paired=False, resamples=RESAMPLES, seed=seed, block=block
        )
        misses += not estimate.low <= 1 <= estimate.high
    return misses / trials


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--requests", type=int, nargs="+", default=[320])
    parser.add_argument("--busy", type=float, nargs="+", default=[0.5, 0.7, 0.9])
    asked = parser.parse_args()
    print("| requests | busy | ten | short |\n|---|---|---|---|")
    for count in asked.requests:
        for busy in asked.busy:
            blocks = (None, math.ceil(count ** (1 / 3)))
            shares = [missed(count, busy, block, asked.trials) for block in blocks]
            print(f"| {count} | {busy:.0%} | {' | '.join(f'{one:.1%}' for one in shares)} |")


if __name__ == "__main__":
    main()
