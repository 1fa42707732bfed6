"""What the report of a comparison by turns is given, as data: two sides, their pairs, verdicts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from .measure import Measure

AbVerdict = Literal["passed", "improved", "regressed", "inconclusive"]
SideName = Literal["a", "b"]


@dataclass(frozen=True)
class AbSide:
    """One of the two. label: of its engine. version: of its llmbench. options: as they were typed.
    tree: the source tree that ran; empty: the llmbench that asked. commit: of that tree, with `+`
    if it held changes; empty where unknown. config: its settings, by name."""

    label: str
    version: str
    options: str
    tree: str
    commit: str
    config: Mapping[str, Any]


@dataclass(frozen=True)
class AbAnswer:
    """pairs: that it was judged by. a, b: the median trial of each side. ratio, low, high: of
    B / A, the interval at the level that the metric is judged at; None of too few pairs for one.
    detectable: the smallest worsening, a share, that so many pairs call regressed nine
    times in ten; None: none. pairs_needed: how many at most call the wanted effect so; None: more
    than a thousand."""

    verdict: AbVerdict
    pairs: int
    a: float
    b: float
    ratio: float
    low: float | None
    high: float | None
    detectable: float | None
    pairs_needed: int | None


@dataclass(frozen=True)
class AbMetric(Measure):
    """A question, and its answer; None where the comparison proves nothing. allowed, effect: how
    much worse B may be, and how much worse is wanted to be found, shares of A's value."""

    allowed: float
    effect: float
    answer: AbAnswer | None

    @property
    def limit(self) -> float:
        """B / A at which B is worse by what is allowed."""
        return 1 - self.allowed if self.better == "higher" else 1 + self.allowed


@dataclass(frozen=True)
class AbPair:
    """Two trials of the same requests, one after the other. place: from 1, in the order that pairs
    were measured. first: the side whose turn came first. counts: whether its quad does. a, b:
    values by the name of a quantity; None for a trial that was not valid or never came."""

    place: int
    first: SideName
    counts: bool
    a: Mapping[str, float] | None
    b: Mapping[str, float] | None

    def ratio(self, name: str) -> float | None:
        """B / A of a quantity; None where there is none."""
        if self.a is None or self.b is None:
            return None
        before, after = self.a.get(name, 0.0), self.b.get(name, 0.0)
        return after / before if before > 0 and after > 0 else None


@dataclass(frozen=True)
class DroppedQuad:
    """Two pairs that count for nothing. place: of the first. why: what was wrong with one of their
    four trials."""

    place: int
    why: str


@dataclass(frozen=True)
class Ab:
    """A comparison by turns.

    pairs: in the order that they were measured, those that count for nothing included. stopped:
    why it ended; empty if it did not come to its end. failure: why it proves nothing; empty if it
    does. idle_share: of a processor, that the side that waited used. error_rate: the chance that
    any verdict is wrong. cautions: what the verdicts do not cover. seed: of the requests. coin:
    what decided the order of turns. created_at: ISO 8601.
    """

    a: AbSide
    b: AbSide
    metrics: tuple[AbMetric, ...]
    pairs: tuple[AbPair, ...]
    dropped: tuple[DroppedQuad, ...]
    num_requests: int
    stopped: str
    failure: str
    idle_share: float
    error_rate: float
    cautions: tuple[str, ...]
    seed: int
    coin: int
    command: str
    created_at: str
    environment: Mapping[str, Any]

    @property
    def counted(self) -> tuple[AbPair, ...]:
        return tuple(pair for pair in self.pairs if pair.counts)
