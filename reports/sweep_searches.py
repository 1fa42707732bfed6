"""The searches of one point together: one, or one a repeat, each with requests of its own."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from .format import number, plural, quantity
from .sweep_model import SaturationPoint

AT_ONCE = "all at once"


@dataclass(frozen=True)
class Searches:
    """each: at least one, all of the point's settings."""

    each: tuple[SaturationPoint, ...]

    @property
    def settings(self) -> Mapping[str, str]:
        return self.each[0].settings

    @property
    def unit(self) -> str:
        """Of its rates."""
        return self.each[0].unit

    @property
    def outcome(self) -> Literal["found", "never", "unknown"]:
        """`found` where any has an answer, `never` where all say that no rate is followed."""
        outcomes = {one.outcome for one in self.each}
        if "found" in outcomes:
            return "found"
        return "unknown" if "unknown" in outcomes else "never"

    @property
    def holds_per_s(self) -> float | None:
        """The median of the answers; of searches without any, of what they know so far."""
        rates = self._answers or [one.holds_per_s for one in self.each if one.holds_per_s]
        return median(rates) if rates else None

    @property
    def lowest_per_s(self) -> float:
        """The least that an answer says is followed."""
        return min(self._answers, default=0.0)

    @property
    def fails_per_s(self) -> float:
        """The most that an answer says is not followed; infinite where that is all at once."""
        found = [one for one in self.each if one.outcome == "found"]
        return max(math.inf if one.fails_per_s is None else one.fails_per_s for one in found)

    @property
    def spread(self) -> str:
        """`53.8 to 76.1 over 2 searches`; empty of a single one, and where none has an answer."""
        if len(self.each) == 1 or not self._answers:
            return ""
        low, high = number(min(self._answers)), number(max(self._answers))
        some = "" if len(self._answers) == len(self.each) else f"{len(self._answers)} of "
        ends = low if low == high else f"{low} to {high}"
        return f"{ends} over {some}{plural(len(self.each), 'search', 'searches')}"

    @property
    def text(self) -> str:
        """`follows 4.2 requests/s, not 4.3`, or `follows 65 requests/s (53.8 to 76.1 over …)`."""
        if len(self.each) == 1:
            return rate_text(self.each[0])
        if self.outcome == "found":
            return f"follows {quantity(self.holds_per_s, self.unit)} ({self.spread})"
        what = "follows no rate" if self.outcome == "never" else "has no highest rate that is known"
        return f"{what} in any of {len(self.each)} searches"

    @property
    def _answers(self) -> list[float]:
        return [
            one.holds_per_s
            for one in self.each
            if one.outcome == "found" and one.holds_per_s is not None
        ]


def by_point(points: Sequence[SaturationPoint]) -> tuple[Searches, ...]:
    """In the order in which the points come first."""
    found: dict[tuple[tuple[str, str], ...], list[SaturationPoint]] = {}
    for one in points:
        found.setdefault(tuple(one.settings.items()), []).append(one)
    return tuple(Searches(tuple(each)) for each in found.values())


def rate_text(point: SaturationPoint) -> str:
    """`follows 4.2 requests/s, not 4.3`"""
    if point.outcome == "never":
        return f"follows no rate: not even {quantity(point.fails_per_s, point.unit)}"
    followed = f"follows {quantity(point.holds_per_s, point.unit)}"
    missed = AT_ONCE if point.fails_per_s is None else number(point.fails_per_s)
    if point.outcome == "unknown":
        known = [followed] if point.holds_per_s is not None else []
        if point.fails_per_s is not None:
            known.append(f"not {missed}")
        return "has no highest rate that is known" + (f": {', '.join(known)}" if known else "")
    return f"{followed}, not {missed}"
