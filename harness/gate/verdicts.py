"""What every kind of gate comes to, whoever says it: rows with verdicts, and an exit code."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

PASSED, REGRESSED, INVALID, INCONCLUSIVE = 0, 1, 3, 4
Verdict = Literal["passed", "improved", "regressed", "inconclusive"]

_HEADLINES = {
    PASSED: "passed: nothing got worse than allowed",
    REGRESSED: "regressed",
    INVALID: "invalid: a run that is not valid proves nothing",
    INCONCLUSIVE: "inconclusive: not enough evidence to pass or to fail",
}


@dataclass(frozen=True)
class VerdictRow:
    """One thing that was judged. name: the rule or the quantity. change: what it did, in words.
    note: why it is inconclusive, or what to know of the verdict. size: how far it went, as a share
    of what it was; 0 where neither way is better."""

    name: str
    change: str
    verdict: Verdict
    note: str = ""
    size: float = 0.0


@dataclass(frozen=True)
class Verdicts:
    """title: what was gated. about: what was held against what, a line each. invalid: what could
    not be judged, and why. warnings: what the verdicts do not cover. undecided: what ended it
    before anything could be judged; then rows are what was seen. All of it may hold text from
    outside (names, errors), which a renderer must not let become markup or a command."""

    title: str
    exit_code: int
    rows: tuple[VerdictRow, ...]
    about: tuple[str, ...] = ()
    invalid: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    undecided: str = ""

    @property
    def headline(self) -> str:
        if self.undecided:
            return f"undecided: {self.undecided}"
        return _HEADLINES[self.exit_code]


def worst_first(rows: Iterable[VerdictRow]) -> tuple[VerdictRow, ...]:
    """As they are read: a page may show the first few alone."""
    order = ("regressed", "inconclusive", "improved", "passed")
    # Of what passed the order says nothing, and stays.
    return tuple(
        sorted(
            rows,
            key=lambda row: (order.index(row.verdict), row.verdict != "passed" and -row.size),
        )
    )


def exit_code(verdicts: Iterable[str]) -> int:
    """A regression outweighs what is inconclusive, and that what passed."""
    found = set(verdicts)
    if "regressed" in found:
        return REGRESSED
    return INCONCLUSIVE if "inconclusive" in found else PASSED
