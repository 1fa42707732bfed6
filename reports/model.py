"""What a report is given, and what it says, as data: no renderer is known here.

Given: a `Run`, or several and their `Comparison`, which the harness works out. Said: a `Report`
of sentences, key figures, tables and charts, which every renderer draws from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

from .measure import Measure

if TYPE_CHECKING:
    import pandas as pd

Verdict = Literal["better", "worse", "same", "inconclusive"]
Tone = Literal["plain", "good", "caution", "bad", "quiet"]
Mark = Literal["step", "area", "line", "point", "named", "bar", "interval"]
Width = Literal["full", "half"]
# Of several runs, some may have a steady window and some none.
RatesOver = Literal["steady window", "whole run", "steady window, else whole run"]

# The checks that say that others had the machine, or that it was held back, during a run.
DISTURBANCES = ("machine", "throttling")


@dataclass(frozen=True, eq=False)
class Run:
    """One stored run.

    name: how the run is called beside others. result: the content of `result.json`.
    requests, steps: `requests.parquet` and `steps.parquet`; times in seconds, NaN where absent.
    """

    name: str
    result: Mapping[str, Any]
    requests: pd.DataFrame
    steps: pd.DataFrame


@dataclass(frozen=True)
class Ratio:
    """A run's statistic over the baseline's, with its interval where one could be had.

    verdict: whether the run is better than the baseline; None where there is no better. alone: the
    interval holds at 95 % by itself, and not together with those of other ratios. too_little: why
    nothing can be concluded whatever the interval; empty if something can. value: infinite where
    the baseline's is 0.
    """

    value: float
    low: float | None = None
    high: float | None = None
    verdict: Verdict | None = None
    alone: bool = False
    too_little: str = ""


@dataclass(frozen=True)
class MetricComparison(Measure):
    """One statistic of one metric, in each run.

    values, ratios: one for each run, in order of `Comparison.runs`; None where a run has no such
    value, and for the baseline's own ratio.
    """

    values: tuple[float | None, ...]
    ratios: tuple[Ratio | None, ...]


@dataclass(frozen=True)
class ConfigDifference:
    """A setting that is not the same in all runs. values: one for each run."""

    field: str
    values: tuple[Any, ...]


@dataclass(frozen=True)
class PairOfRuns:
    """A repeat of the run called `run`, and the baseline's that was sent the same. ratios: by
    quantity, as `ttft.p99`; None where one has no value or the baseline's is 0."""

    run: str
    repeat: str
    ratios: Mapping[str, float | None]


@dataclass(frozen=True)
class BetweenRuns:
    """What a comparison of repeated runs rests on: values are means over runs.

    runs: how many there are of each side. paired: whether every side's were sent the same as the
    baseline's, so that ratios are of pairs. shown: of each side, the repeat that is drawn where a
    single run is. how: what the intervals are made from, in a sentence.
    """

    runs: tuple[int, ...]
    paired: bool
    shown: tuple[str, ...]
    how: str
    pairs: tuple[PairOfRuns, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """Runs side by side. baseline: the one of `runs` that ratios are taken to.

    same_requests: whether every run was sent the same bytes; None: a run does not say. warnings:
    what the comparison cannot carry. differences: those of them that are no settings (hardware,
    versions, how it was measured, what else the machine did, what is not known) and may explain a
    difference as well. statement: what was found, in a sentence (`comparison_headline`), and
    undecided: what could not be, whatever its interval, and why; empty if the former says it.
    between: of runs that were repeated; intervals are then over runs and not over requests.
    rates_over: what the rates called `window` are over.
    """

    runs: tuple[str, ...]
    baseline: str
    differing_config: tuple[ConfigDifference, ...]
    same_requests: bool | None
    warnings: tuple[str, ...]
    rows: tuple[MetricComparison, ...]
    statement: str
    between: BetweenRuns | None = None
    differences: tuple[str, ...] = ()
    undecided: str = ""
    rates_over: RatesOver = "steady window"


@dataclass(frozen=True)
class Badge:
    """One word that must not be missed, with a symbol so that colour does not carry it alone."""

    word: str
    symbol: str
    tone: Tone


@dataclass(frozen=True)
class Note:
    """A sentence beside the numbers; `bad` ones are shown before anything else."""

    text: str
    tone: Tone = "plain"


@dataclass(frozen=True)
class KeyFigure:
    """A number of the first screen: formatted value, its unit, and what belongs beside it."""

    label: str
    value: str
    unit: str = ""
    detail: str = ""

    @classmethod
    def of(cls, label: str, text: str, detail: str = "") -> Self:
        """text: a formatted quantity, whose words after the first are the unit."""
        value, _, unit = text.partition(" ")
        return cls(label, value, unit, detail)


@dataclass(frozen=True)
class Column:
    """numeric: aligned so that digits stand under each other."""

    title: str
    numeric: bool = False


@dataclass(frozen=True)
class Cell:
    """link: a file beside the report's, by a relative path; empty for none."""

    text: str
    tone: Tone = "plain"
    link: str = ""


@dataclass(frozen=True)
class Table:
    """Formatted text, row by row. The first column names the row. folded: a page shows its title,
    and the rows to who asks for them."""

    id: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""
    folded: bool = False


@dataclass(frozen=True)
class Axis:
    """title without its unit. high: where the axis ends, so that two charts can share a scale.

    log: also of y, for ratios, of unit ×, and values far from each other. categories: names of the
    positions 0, 1, … instead of numbers. numbered: of x, and with `high`: positions 1, 2, …, so
    that there is no 0, and nothing between two.
    """

    title: str
    unit: str = ""
    log: bool = False
    high: float | None = None
    categories: tuple[str, ...] = ()
    numbered: bool = False

    @property
    def label(self) -> str:
        scale = ", log scale" if self.log else ""
        return f"{self.title} ({self.unit}{scale})" if self.unit else self.title


@dataclass(frozen=True)
class Series:
    """Points of one meaning. role: a key of `palette.ROLES`, which decides its colour.

    mark: `step` and `area` hold y from each x to the next; areas of a panel stack, in order; `line`
    goes straight from point to point; a `named` point has its label written beside it;
    `bar` is horizontal, x long at category y, and stacks too; `interval` is a point x at category y
    with a line from low to high, which are NaN where nothing is known. labels: what a point is, in
    words.
    """

    name: str
    role: str
    mark: Mark
    x: tuple[float, ...]
    y: tuple[float, ...]
    labels: tuple[str, ...] = ()
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()


@dataclass(frozen=True)
class Guide:
    """A reference line across a panel, at a value of one axis. label: empty for none."""

    axis: Literal["x", "y"]
    value: float
    label: str


@dataclass(frozen=True)
class Zone:
    """A part of a panel to shade. name: what it is. x, y: from where to where; None: all along."""

    name: str
    x: tuple[float, float] | None = None
    y: tuple[float, float] | None = None


@dataclass(frozen=True)
class Panel:
    """One pair of axes; the panels of a chart stand above each other and share x."""

    y: Axis
    series: tuple[Series, ...]
    guides: tuple[Guide, ...] = ()
    zones: tuple[Zone, ...] = ()


@dataclass(frozen=True)
class Chart:
    """A figure. reading: one sentence, what to see here. note: what was left out or summed up.

    span: a stretch of x to shade, and what it is. data: the table of its numbers; None: as its
    series are.
    """

    id: str
    title: str
    reading: str
    x: Axis
    panels: tuple[Panel, ...]
    note: str = ""
    width: Width = "full"
    span: tuple[float, float, str] | None = None
    data: Table | None = None

    @property
    def series(self) -> tuple[Series, ...]:
        return tuple(series for panel in self.panels for series in panel.series)


@dataclass(frozen=True)
class Section:
    id: str
    title: str
    parts: tuple[Chart | Table, ...]
    intro: str = ""


def present(*parts: Chart | Table | None) -> tuple[Chart | Table, ...]:
    """What there is to show of a section: a chart without series draws nothing."""
    return tuple(
        part
        for part in parts
        if part is not None and not (isinstance(part, Chart) and not part.series)
    )


@dataclass(frozen=True)
class Report:
    """All that a report says, in reading order. verdict: the answer in one sentence.

    premise: what every number stands on and is said before the first of them; empty for what was
    measured. overview: what stands on the first screen with the figures, or in their place.
    """

    title: str
    subtitle: str
    badge: Badge
    verdict: str
    statements: tuple[str, ...]
    figures: tuple[KeyFigure, ...]
    notes: tuple[Note, ...]
    sections: tuple[Section, ...]
    footer: str
    premise: str = ""
    overview: tuple[Chart | Table, ...] = ()

    @property
    def parts(self) -> tuple[Chart | Table, ...]:
        """Everything drawn, in reading order."""
        return (*self.overview, *(part for section in self.sections for part in section.parts))

    @property
    def charts(self) -> tuple[Chart, ...]:
        return tuple(part for part in self.parts if isinstance(part, Chart))
