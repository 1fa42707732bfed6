"""What a sweep's report is given, as data: cells and what each found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from .measure import Measure


@dataclass(frozen=True)
class SweepCell:
    """One cell's run. name: its directory. settings: by option, in order. values: by quantity, as
    `ttft.p99`; None where not measured. failure: why it does not count; empty if it does.
    adjustments: what was changed of the workload, in words.
    refused: of a search, what requests ran into: all that the cell says is that its rate was not
    followed; empty where all were served. followed: of a search, whether its rate was; None where
    the run proves nothing or is too short to tell, and of a grid."""

    name: str
    settings: Mapping[str, str]
    repeat: int
    label: str
    values: Mapping[str, float | None]
    failure: str = ""
    refused: str = ""
    followed: bool | None = None
    adjustments: tuple[str, ...] = ()


@dataclass(frozen=True)
class SweepSystem:
    """What some cells ran. text: model, dtype and hardware. error: how wrong its simulated times
    may be, in words; empty if they were measured."""

    text: str
    error: str = ""


@dataclass(frozen=True)
class SweepRival:
    """A point that is not the best. low, high: of its value over the best one's, an interval; None
    where the runs show none. worse: whether it is surely so, and by more than nothing to speak of.
    too_little: why nothing can be concluded whatever the interval; empty if something can."""

    settings: Mapping[str, str]
    value: float
    low: float | None
    high: float | None
    worse: bool
    too_little: str = ""


@dataclass(frozen=True)
class SweepLead:
    """The best point by one quantity, as `ttft.p99`, and what it leads by.

    alike: others that are not surely worse, nearest first; if there are any, nobody is best. next:
    the nearest that is worse. farthest: the value that differs most; None of a point alone.
    repeated: whether values are medians, and intervals over repeats, and not over requests.
    """

    quantity: str
    settings: Mapping[str, str]
    value: float
    alike: tuple[SweepRival, ...] = ()
    next: SweepRival | None = None
    farthest: float | None = None
    repeated: bool = False


@dataclass(frozen=True)
class SaturationPoint:
    """Where a search for the highest rate ended. settings: of the grid's point. outcome: `found`;
    `never`, not even the lowest rate was followed; `unknown`, the search had to end, and failure
    says why. holds_per_s: the highest rate that was followed, fails_per_s: the one above it that
    was not; None: there is none, or it is all at once, which is no rate. exceptions: rates that
    contradict a single threshold. per_session: where sessions are what arrives, and rates are of,
    how many requests each brings; None: requests arrive. repeat: from 1, each with requests of its
    own."""

    settings: Mapping[str, str]
    outcome: Literal["found", "never", "unknown"]
    holds_per_s: float | None
    fails_per_s: float | None
    exceptions: tuple[float, ...] = ()
    failure: str = ""
    per_session: float | None = None
    repeat: int = 1

    @property
    def unit(self) -> str:
        """Of its rates."""
        return "requests/s" if self.per_session is None else "sessions/s"

    @property
    def requests_per_s(self) -> float | None:
        """The highest rate in requests: all turns of a session come in the end."""
        if self.holds_per_s is None:
            return None
        return self.holds_per_s * (self.per_session or 1.0)


@dataclass(frozen=True)
class SweepTable:
    """command: what every cell adds its settings to. criterion: what it is to follow a rate, in
    words; empty for a grid. systems: each model and hardware that cells ran, defaults or not.
    quantities: the columns. leads: the best points of those that count, in the order of a report.
    interrupted: how far a sweep came that was, such as `3 of 8 cells ended`; empty of a whole
    one."""

    command: str
    options: tuple[str, ...]
    quantities: tuple[Measure, ...]
    cells: tuple[SweepCell, ...]
    saturation: tuple[SaturationPoint, ...] = ()
    criterion: str = ""
    systems: tuple[SweepSystem, ...] = ()
    leads: tuple[SweepLead, ...] = ()
    interrupted: str = ""

    @property
    def counted(self) -> tuple[SweepCell, ...]:
        """Those whose numbers do."""
        return tuple(cell for cell in self.cells if not (cell.failure or cell.refused))

    @property
    def is_repeated(self) -> bool:
        return any(one.repeat > 1 for one in (*self.cells, *self.saturation))

    @property
    def is_whole(self) -> bool:
        """Whether everything that was asked is answered."""
        parts = (*self.cells, *self.saturation)
        return not self.interrupted and not any(one.failure for one in parts)
