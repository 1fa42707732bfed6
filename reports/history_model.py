"""What a history's report is given, as data: quantities over the runs of one experiment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .measure import Measure
from .model import Verdict

Kind = Literal["measured", "exact"]


@dataclass(frozen=True)
class HistoryRun:
    """One run of a series. when: ISO 8601; None of a simulated run, whose result depends on nothing
    but its input, and where another tool's file says none. version: of llmbench.
    commit: of the tree that ran, with `+` if it held changes; driver: of the GPUs; empty where
    unknown. disturbed: why its times decide nothing; empty if they may."""

    name: str
    when: str | None
    version: str
    commit: str
    driver: str = ""
    disturbed: str = ""


@dataclass(frozen=True)
class Step:
    """A change of level. index: of the first run on the new one. before, after: medians of the
    runs on either side, up to the next step. p: None where a quantity repeats exactly, so that any
    change is one. verdict: None where no direction is better."""

    index: int
    before: float
    after: float
    p: float | None
    verdict: Verdict | None

    @property
    def ratio(self) -> float | None:
        return self.after / self.before if self.before else None


@dataclass(frozen=True)
class Trend(Measure):
    """One quantity over a series. values: one a run, None where it has none. left_out: the runs, by
    place, whose value enters no test. fewest_values: below which it could show no step, being
    judged with others; 0 if any two can. undecided: why steps that were found are not called; empty
    if none was."""

    kind: Kind
    values: tuple[float | None, ...]
    steps: tuple[Step, ...]
    left_out: tuple[int, ...] = ()
    fewest_values: int = 0
    undecided: str = ""

    @property
    def judged(self) -> tuple[tuple[int, float], ...]:
        """Place and value of every run that has one and enters the tests."""
        return tuple(
            (at, value)
            for at, value in enumerate(self.values)
            if value is not None and at not in self.left_out
        )

    @property
    def too_few(self) -> bool:
        """Whether it could show no step, however far apart its values are."""
        return len(self.judged) < self.fewest_values


@dataclass(frozen=True)
class NotCarried:
    """A percentile that some runs of a series have too few samples for. places: theirs. needed: how
    many samples it takes."""

    id: str
    stat: str
    places: tuple[int, ...]
    needed: int


@dataclass(frozen=True)
class Series:
    """Runs of the same settings, requests and hardware, in order of time; those that record none in
    order of their names. not_carried: values that are left out, because their runs are of too few
    samples. simulation_error: of simulated runs, how wrong they may be; empty of measured ones."""

    name: str
    runs: tuple[HistoryRun, ...]
    trends: tuple[Trend, ...]
    not_carried: tuple[NotCarried, ...] = ()
    simulation_error: str = ""


@dataclass(frozen=True)
class History:
    """left_out: runs that do not count, each with the reason. alone: runs that count, and whose
    settings, requests and hardware no other has. significance: of all measured quantities of a
    series together."""

    series: tuple[Series, ...]
    left_out: tuple[tuple[str, str], ...]
    significance: float
    command: str = ""
    alone: tuple[str, ...] = ()
