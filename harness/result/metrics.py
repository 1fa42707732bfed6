"""The numbers of a run: its metrics and what it counted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal, Protocol, Self

from .base import ResultPart


class Definition(Protocol):
    """What a reader needs to judge a metric's numbers."""

    unit: ClassVar[str]
    better: ClassVar[Literal["lower", "higher", "none"]]


class Metric(ResultPart):
    """One metric. Distributions hold count, mean, std, min, p50, p90, p95, p99, max;
    rates hold `window` (the steady window) and `run` (drain included); shares of a peak hold `run`
    and, of steps of a kind, `prefill`, `decode` and `mixed`; what a token takes holds `output` and
    `total`."""

    unit: str
    better: Literal["lower", "higher", "none"]
    stats: dict[str, float]

    @classmethod
    def of(cls, definition: Definition, stats: Mapping[str, float]) -> Self:
        return cls(unit=definition.unit, better=definition.better, stats=dict(stats))


class Counters(ResultPart):
    """Counts that repeat exactly when the schedule does; null where an engine does not say."""

    steps: int | None = None
    prefill_steps: int | None = None
    decode_steps: int | None = None
    mixed_steps: int | None = None
    prefill_tokens: int | None = None
    decode_tokens: int | None = None
    output_tokens: int
    requests_ok: int
    requests_refused: int
    requests_failed: int
    requests_unfinished: int
    preemptions: int | None = None
    recomputed_tokens: int | None = None
    prefix_hit_tokens: int | None = None
    swaps_out: int | None = None
    replayed_steps: int | None = None
    kv_peak_held_tokens: int | None = None

    @property
    def requests_asked(self) -> int:
        """Replies that were asked for, several of a request that was to be sampled so often."""
        return (
            self.requests_ok
            + self.requests_refused
            + self.requests_failed
            + self.requests_unfinished
        )
