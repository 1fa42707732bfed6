"""What a repeated run's report is given, as data: its runs, and what they come to together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .measure import Measure


@dataclass(frozen=True)
class RepeatRun:
    """One repeat. name: its directory. values: by quantity, as `ttft.p99`; None where not measured.
    failure: why it counts for nothing; empty if it does count."""

    name: str
    seed: int
    fingerprint: str
    created_at: str | None
    duration_s: float
    values: Mapping[str, float | None]
    failure: str = ""


@dataclass(frozen=True)
class PooledQuantity(Measure):
    """A quantity over the repeats that count and have it.

    runs: how many. std: between runs, divided by runs - 1. low, high: the interval of the mean, cut
    at 0 and a share's at 1, which no mean lies beyond. std, low and high are None for a single run.
    over: what a rate is over, where not every run has a steady window; else empty.
    """

    runs: int
    mean: float
    std: float | None = None
    low: float | None = None
    high: float | None = None
    over: str = ""

    @property
    def label(self) -> str:
        return f"{super().label}, {self.over}" if self.over else super().label


@dataclass(frozen=True)
class RepeatsTable:
    """label: of the engine or server. notes: what the intervals cannot carry. premise: of simulated
    runs, what every number stands on."""

    name: str
    label: str
    model: str
    workload: str
    command: str
    runs: tuple[RepeatRun, ...]
    quantities: tuple[PooledQuantity, ...]
    confidence: float
    notes: tuple[str, ...] = ()
    premise: str = ""

    @property
    def counted(self) -> tuple[RepeatRun, ...]:
        return tuple(run for run in self.runs if not run.failure)
