"""A number of a result, as every report calls it: its name, its label, its unit, its better way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .glossary import label_of

# Numbers that are no metric of a distribution or a rate: `stat` says which one it is.
GROUPS = ("kv", "counters", "memory", "quality")


@dataclass(frozen=True)
class Measure:
    """id, stat, unit, better: as in `Result.metrics`, or `id` one of `GROUPS` and `stat` what the
    result has in it."""

    id: str
    stat: str
    unit: str
    better: Literal["lower", "higher", "none"]

    @property
    def name(self) -> str:
        """`ttft.p99`."""
        return f"{self.id}.{self.stat}"

    @property
    def label(self) -> str:
        """`TTFT p99`."""
        return response_label(self.id, self.stat)


def response_label(metric: str, stat: str) -> str:
    """`TTFT p99`, `Output throughput`, `KV waste`, `Requests running, peak`."""
    if metric == "running":
        return f"Requests running, {stat}"
    if metric in GROUPS:
        return label_of(stat)
    return label_of(metric) if stat in ("window", "run") else f"{label_of(metric)} {stat}"
