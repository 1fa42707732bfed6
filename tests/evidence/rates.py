"""How often the interval of a ratio of two throughputs misses, its stretches as pairs and not.

    python -m tests.evidence.rates

Two runs are sent the same requests, with lognormal lengths (sigma 0.8), and differ by chance.

By the clock, a server of four slots, first come first served, has Poisson arrivals; how long a
request takes differs. The ratio is 1. Stretches of equal time are pairs; the window is from the
tenth part of the arrivals to the last of them, as a steady window is.

In a closed loop of four, an engine batches: a step makes a token of each request and computes the
prompts of those that begin (lognormal, sigma 1.2). How long a step takes differs, half of it as the
step before. Engines are alike, or one takes twice as long over a token of a prompt, so that the
ratio depends on which requests come: it is that of very many. Stretches of as many tokens are
pairs; the window is from the tenth part of the tokens to the last beginning.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
from llmbench.harness.comparison.observed import STRETCHES, equal_times, equal_work
from llmbench.harness.metrics.base import Interval
from llmbench.harness.stats.bootstrap import Sample, Statistic, compare_samples
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
Load = Callable[[int, float, np.random.Generator], tuple[Sample, Sample]]
SLOTS, NOISE = 4, (0.05, 0.3)
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


def token_times(begun_s: Floats, tokens: Counts, takes_s: Floats) -> Floats:
    """When each token is out, in order; a request's are spread evenly over its service."""
    times_s = [
        start + length * np.arange(1, count + 1) / count
        for start, length, count in zip(begun_s, takes_s, tokens, strict=True)
    ]
    return np.sort(np.concatenate(times_s))


def sample(times_s: Floats, edges_s: Floats) -> Sample:
    held, _ = np.histogram(times_s, bins=edges_s)
    units = np.arange(STRETCHES)
    return Sample(held.astype(np.float64), units, STRETCHES, per=np.diff(edges_s))


def by_clock(arrivals_s: Floats, tokens: Counts, takes_s: Floats) -> Sample:
    times_s = token_times(served(arrivals_s, takes_s), tokens, takes_s)
    return sample(times_s, equal_times(Interval(arrivals_s[len(arrivals_s) // 10], arrivals_s[-1])))


def stepped(prompts: Counts, tokens: Counts, prompt_cost: float, noise: Floats) -> Floats:
    """When each token of a closed loop is out, in order, and when the last request began: a step
    makes a token of each request in a slot, takes 1 and `prompt_cost` for each token of a prompt
    that it begins with, and then `noise` times as long by chance."""
    left = np.zeros(SLOTS, dtype=np.int64)
    following, now_s, last_s = 0, 0.0, 0.0
    times_s: list[float] = []
    while True:
        step_s = 1.0
        for slot in np.flatnonzero(left == 0):
            if following < len(tokens):
                left[slot] = tokens[following]
                step_s += prompt_cost * prompts[following]
                following, last_s = following + 1, now_s
        active = np.count_nonzero(left)
        if not active:
            return np.array([*times_s, last_s])
        now_s += step_s * noise[len(times_s) % len(noise)]
        times_s.extend([now_s] * active)
        left[left > 0] -= 1


def closed_loop(prompts: Counts, tokens: Counts, prompt_cost: float, noise: Floats) -> Sample:
    *times, last_s = stepped(prompts, tokens, prompt_cost, noise)
    times_s = np.array(times)
    span = Interval(times_s[len(times_s) // 10], last_s)
    return sample(times_s, equal_work(times_s, span))


def by_chance(noise: float, rng: np.random.Generator) -> Floats:
    """How many times as long steps take: what is so of one is half so of the next."""
    now = rng.normal(0, noise, 8192)
    for at in range(1, len(now)):
        now[at] = 0.5 * now[at - 1] + 0.866 * now[at]
    return np.exp(now)


def by_the_clock(busy: float) -> Load:
    """A share of what the server could do comes as a Poisson process."""

    def drawn(count: int, noise: float, rng: np.random.Generator) -> tuple[Sample, Sample]:
        tokens = _lengths(count, rng)
        one, other = (
            tokens.astype(np.float64) * np.exp(rng.normal(0, noise, count)) for _ in range(2)
        )
        arrivals_s = np.cumsum(rng.exponential(tokens.mean() / SLOTS / busy, count))
        return by_clock(arrivals_s, tokens, one), by_clock(arrivals_s, tokens, other)

    return drawn


def in_a_closed_loop(*prompt_costs: float) -> Load:
    """Two engines, by what a token of a prompt takes each."""

    def drawn(count: int, noise: float, rng: np.random.Generator) -> tuple[Sample, Sample]:
        prompts, tokens = rng.lognormal(5, 1.2, count).astype(np.int64), _lengths(count, rng)
        one, other = (
            closed_loop(prompts, tokens, cost, by_chance(noise, rng)) for cost in prompt_costs
        )
        return one, other

    return drawn


def _lengths(count: int, rng: np.random.Generator) -> Counts:
    return np.maximum(4, rng.lognormal(3.5, 0.8, count)).astype(np.int64)


LOADS = {
    **{f"by the clock, {busy:.0%} busy": by_the_clock(busy) for busy in (0.4, 0.8, 0.95)},
    "closed loop, engines alike": in_a_closed_loop(0.02, 0.02),
    "closed loop, prompts twice as dear": in_a_closed_loop(0.02, 0.04),
}
# Requests that show what a ratio of two engines that are not alike comes to.
MANY = 20_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=400)
    parser.add_argument("--requests", type=int, nargs="+", default=[48, 120, 300])
    asked = parser.parse_args()
    rng = np.random.default_rng(0)
    print("| requests | load | differ by | no pairs | pairs |")
    print("|---|---|---|---|---|")
    for name, load in LOADS.items():
        one, other = load(MANY, 0.0, rng)
        ratio = Statistic().of(other) / Statistic().of(one)
        for count in asked.requests:
            for noise in NOISE:
                drawn = [load(count, noise, rng) for _ in range(asked.trials)]
                cells = [said(drawn, ratio, paired) for paired in (False, True)]
                print(f"| {count} | {name} | {noise:.0%} | {' | '.join(cells)} |", flush=True)


def said(pairs: list[tuple[Sample, Sample]], ratio: float, paired: bool) -> str:
    found = [
        compare_samples(*one, Statistic(), paired=paired, resamples=RESAMPLES, seed=at)
        for at, one in enumerate(pairs)
    ]
    missed = np.mean([not one.low <= ratio <= one.high for one in found])
    width = np.median([(one.high - one.low) / ratio for one in found])
    return f"{missed:.1%}, {width:.1%}"


if __name__ == "__main__":
    main()
