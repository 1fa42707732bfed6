"""How long trials take on machines that are not quiet: factors of a trial's time, in order."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Noise = Callable[[np.random.Generator, int], NDArray[np.float64]]

LEVELS_APART = 1.9


def two_levels(stay: int) -> Noise:
    """Memory whose bandwidth flips between two levels, and stays at one for some `stay` trials."""

    def noise(rng: np.random.Generator, trials: int) -> NDArray[np.float64]:
        level = (rng.integers(2) + np.cumsum(rng.random(trials) < 1 / stay)) % 2
        return LEVELS_APART**level * rng.lognormal(0, 0.02, size=trials)

    return noise


def heavy_tailed(rng: np.random.Generator, trials: int) -> NDArray[np.float64]:
    """Mostly quiet, and now and then a trial that takes many times as long."""
    return np.exp(0.02 * rng.standard_t(1.5, size=trials).clip(-200, 200))


def autocorrelated(rng: np.random.Generator, trials: int) -> NDArray[np.float64]:
    """A machine that is slow for a while and quick for a while, and drifts."""
    steps = rng.normal(0, 0.02, size=trials)
    level = np.zeros(trials)
    for at in range(1, trials):
        level[at] = 0.95 * level[at - 1] + steps[at]
    return np.exp(level + np.linspace(0, rng.normal(0, 0.3), trials))


NOISES: dict[str, Noise] = {
    "two levels, quick": two_levels(8),
    "two levels, slow": two_levels(100),
    "heavy-tailed": heavy_tailed,
    "autocorrelated": autocorrelated,
}
