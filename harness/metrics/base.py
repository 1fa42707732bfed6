"""What a metric is: an id that is stored, a unit, a direction, and a formula in `of`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from ...engines.trace import StepTrace
from ..run.record import RequestRecord

Better = Literal["lower", "higher", "none"]


@dataclass(frozen=True)
class Interval:
    """The seconds (start_s, end_s] of a run, on the clock of its records.

    Open on the left: what ends at start_s is the work of the time before it.
    """

    start_s: float
    end_s: float

    @property
    def duration_s(self) -> float:
        return self.end_s - self.start_s

    def __contains__(self, time_s: float | None) -> bool:
        return time_s is not None and self.start_s < time_s <= self.end_s

    def rate(self, amount: float) -> float:
        """Amount a second; an interval of no length has rate 0."""
        return amount / self.duration_s if self.duration_s > 0 else 0.0


class Metric(ABC):
    """A name in `result.json`, with what a reader needs to judge its numbers."""

    id: ClassVar[str]
    unit: ClassVar[str]
    better: ClassVar[Better]


class RequestMetric(Metric):
    """One sample a request."""

    @abstractmethod
    def of(self, request: RequestRecord) -> float | None:
        """The sample, or None where the request has none."""


class TokenMetric(Metric):
    """Several samples a request."""

    @abstractmethod
    def of(self, request: RequestRecord) -> tuple[float, ...]:
        """The samples, in token order."""


@dataclass(frozen=True)
class Counted:
    """What a rate counts: `amount` of it came about at each of `times_s`, in ascending order."""

    times_s: Sequence[float]
    amount: float = 1.0

    def within(self, interval: Interval) -> float:
        """How much of it in an interval."""
        times_s = self.times_s
        count = bisect_right(times_s, interval.end_s) - bisect_right(times_s, interval.start_s)
        return count * self.amount


class RateMetric(Metric):
    """Something counted when it comes about, a second of an interval."""

    better: ClassVar[Better] = "higher"

    @abstractmethod
    def counted(self, request: RequestRecord) -> tuple[Counted, ...]:
        """What one request adds, and when."""

    def of(self, requests: Sequence[RequestRecord], interval: Interval) -> float:
        """The rate over the interval."""
        return interval.rate(
            sum(
                counted.within(interval)
                for request in requests
                for counted in self.counted(request)
            )
        )


class StepMetric(Metric):
    """One sample a step."""

    better: ClassVar[Better] = "none"

    @abstractmethod
    def of(self, step: StepTrace) -> float:
        """The sample."""
