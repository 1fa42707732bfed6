"""How often a capacity's interval holds the truth, and how often two equal engines are told apart:
on a queue whose capacity is known.

python -m tests.evidence.capacity

M/M/1: exponential gaps and services of 1 s on average, one server. The limit is on the wait, and
P(W > t) = r exp(-(1 - r) t) at r requests a second (Erlang, 1917), so the limit whose capacity is r
is t = ln(r / missed) / (1 - r). `before` takes every request for independent.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass

import numpy as np
from llmbench.harness.comparison.evidence import ERROR_RATE
from llmbench.harness.rate_search.bracket import Search, find_capacity
from llmbench.harness.stats.batches import effective_size, uneven_p
from llmbench.harness.stats.mcnemar import mcnemar
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Queue:
    """gaps_s: [requests] at one request a second. services_s: [requests]. limit_s: of the wait."""

    gaps_s: Floats
    services_s: Floats
    limit_s: float

    def kept(self, rate_per_s: float) -> list[bool]:
        """Lindley's recursion, as a sum less the least sum so far."""
        steps = np.append(0.0, self.services_s[:-1] - self.gaps_s[1:] / rate_per_s).cumsum()
        waits = steps - np.minimum.accumulate(steps)
        return (waits <= self.limit_s).tolist()

    def capacity(self, target: float) -> tuple[Search, float]:
        """What is found of it, and the effective number of requests."""
        found = find_capacity(
            lambda rate: float(np.mean(self.kept(rate))), target=target, start_per_s=0.5
        )
        assert found.fails is not None, "all at once, most wait"
        return found, effective_size(self.kept(found.fails.rate_per_s))


def drawn(rng: np.random.Generator, capacity_per_s: float, target: float, count: int) -> Queue:
    limit_s = math.log(capacity_per_s / (1 - target)) / (1 - capacity_per_s)
    return Queue(rng.standard_exponential(count), rng.standard_exponential(count), limit_s)


def intervals(
    rng: np.random.Generator, capacity_per_s: float, target: float, count: int, runs: int
) -> str:
    """Of so many searches: effective requests, how many held the truth before and now, the median
    ends, and how many ends were open."""
    ends: dict[str, list[tuple[float, float]]] = {"before": [], "now": []}
    sizes: list[float] = []
    for _ in range(runs):
        found, effective = drawn(rng, capacity_per_s, target, count).capacity(target)
        ends["before"].append(found.interval_per_s(count))
        ends["now"].append(found.interval_per_s(effective))
        sizes.append(effective)
    held = {
        name: 100 * np.mean([low <= capacity_per_s <= high for low, high in found])
        for name, found in ends.items()
    }
    now = np.array(ends["now"])
    low, high = np.median(now, axis=0)
    opened = 100 * np.mean([now[:, 0] == 0, np.isinf(now[:, 1])], axis=1)
    return (
        f"{np.median(sizes):.0f} | {held['before']:.0f} %, {held['now']:.0f} % | "
        f"{low:.2f} to {high:.2f} | {opened[0]:.0f} %, {opened[1]:.0f} %"
    )


def told_apart(
    rng: np.random.Generator, capacity_per_s: float, target: float, count: int, runs: int
) -> str:
    """Share of pairs that are told apart, before and now, at the capacity of the better one:
    engines that are equal, and such that the second takes a fifth longer for each request.
    """
    found: list[bool] = []
    for slower in (False, True):
        for _ in range(runs):
            one = drawn(rng, capacity_per_s, target, count)
            services_s = 1.2 * one.services_s if slower else rng.standard_exponential(count)
            pair = [one, Queue(one.gaps_s, services_s, one.limit_s)]
            held = [engine.capacity(target)[0].holds for engine in pair]
            rate = max(trial.rate_per_s if trial else 0.0 for trial in held)
            if rate == 0:
                found += [False, False]
                continue
            both = np.array([engine.kept(rate) for engine in pair])
            first, second = both[0] & ~both[1], both[1] & ~both[0]
            found.append(mcnemar(int(first.sum()), int(second.sum())) < ERROR_RATE)
            found.append(uneven_p(first.tolist(), second.tolist()) < ERROR_RATE)
    shares = 100 * np.reshape(found, (2, runs, 2)).mean(axis=1).ravel()
    return "{:.0f} %, {:.0f} % | {:.0f} %, {:.0f} %".format(*shares)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    rng = np.random.default_rng(asked.seed)
    print(
        "| capacity | kept | requests | count as | held: before, now | median ends | open: below, "
        "above | equal told apart: before, now | slower told apart |\n" + "|---" * 9 + "|"
    )
    for target in (0.9, 0.99):
        for capacity_per_s in (0.5, 0.7, 0.85):
            for count in (320, 1000, 2000):
                case = (rng, capacity_per_s, target, count, asked.runs)
                print(
                    f"| {capacity_per_s} | {100 * target:.0f} % | {count} | {intervals(*case)} | "
                    f"{told_apart(*case)} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
