"""What a history's report is given, as data: quantities over the runs of one experiment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .model import Verdict

Kind = Literal["measured", "exact"]


@dataclass(frozen=True)
class HistoryRun:
    """One run of a series. when: ISO 8601; a simulated run's is its file's. version: of llmbench.
    commit: of the tree that ran, with `+` if it held changes; empty where unknown."""

    name: str
    when: str
    version: str
    commit: str


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
class Trend:
    """One quantity over a series. id, stat, unit, better: as in `Result.metrics`. values: one a
    run, None where it has none."""

    id: str
    stat: str
    unit: str
    better: Literal["lower", "higher", "none"]
    kind: Kind
    values: tuple[float | None, ...]
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class Series:
    """Runs of the same settings, requests and hardware, in order of time."""

    name: str
    runs: tuple[HistoryRun, ...]
    trends: tuple[Trend, ...]


@dataclass(frozen=True)
class History:
    """left_out: runs that do not count, each with the reason. alone: runs that count, and whose
    settings, requests and hardware no other has. significance: of a measured step. fewest_values:
    below which what is measured can show none."""

    series: tuple[Series, ...]
    left_out: tuple[tuple[str, str], ...]
    significance: float
    command: str = ""
    alone: tuple[str, ...] = ()
    fewest_values: int = 10

    def too_few(self, trend: Trend) -> bool:
        """Whether the trend could show no step, however far apart its values are."""
        known = sum(value is not None for value in trend.values)
        return trend.kind == "measured" and known < self.fewest_values
