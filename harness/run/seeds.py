"""Seeds of repeated runs: one rule for `run --repeats`, `sweep` and `ablate`, so that the same
repeat of two configurations is sent the same requests."""

from __future__ import annotations

import numpy as np

from ...engines.errors import ConfigError

MOST_REPEATS = 10_000


def check_repeats(repeats: int) -> None:
    """Raises ConfigError."""
    if not 1 <= repeats <= MOST_REPEATS:
        raise ConfigError("repeats", repeats, f"1 or more, at most {MOST_REPEATS:,}")


def seed_of_repeat(seed: int, repeat: int) -> int:
    """repeat: from 1. The first sends what a single run would; the others draw from streams that
    numpy's SeedSequence keeps apart (O'Neill, "Developing a seed_seq Alternative", 2015)."""
    if repeat < 1:
        raise ValueError(f"repeat {repeat}")
    if repeat == 1:
        return seed
    return int(np.random.SeedSequence([seed, repeat]).generate_state(1)[0])
