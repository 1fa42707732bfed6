"""Who is measured when: pairs of trials in quads, ABBA or BAAB as a coin says.

A quad is even in time, so that a steady drift cancels; the coin makes the quads' differences
symmetric about the effect whatever else the machine does, which `stats/signed_rank.py` counts on.
So it is tossed anew for every comparison: were the order always the same, a machine that always
begins alike (cold, or fresh from another job) would favour the same side each time.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

SideName = Literal["a", "b"]
PAIRS_A_QUAD = 2


@dataclass(frozen=True)
class Turn:
    """One trial. pair: its number; both trials of a pair have the same seed, and so are sent the
    same requests at the same times."""

    side: SideName
    pair: int
    seed: int


def quad(number: int, seed: int, coin: int) -> tuple[Turn, Turn, Turn, Turn]:
    """The four trials of a quad, in order. seed: decides the requests. coin: decides the order."""
    first: SideName = "a" if _hash(coin, number, "coin") % 2 else "b"
    second: SideName = "b" if first == "a" else "a"
    pairs = (PAIRS_A_QUAD * number, PAIRS_A_QUAD * number + 1)
    one, two = (_hash(seed, pair, "requests") % 2**31 for pair in pairs)
    return (
        Turn(first, pairs[0], one),
        Turn(second, pairs[0], one),
        Turn(second, pairs[1], two),
        Turn(first, pairs[1], two),
    )


def _hash(seed: int, number: int, what: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}/{number}/{what}".encode()).digest()[:8], "big")
