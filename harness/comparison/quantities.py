"""Every number two runs can be compared by: where it is stored, its unit, which way is better.

A name is `metric.stat` (`ttft.p99`, `output_throughput.window`, `mbu.decode`, `kv.waste_share`,
`counters.preemptions`); a counter's own name alone will do, and `cost` and `energy` for what a
token takes of either (`cost.output`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from ...engines.errors import unknown_name
from ...reports.measure import GROUPS, Measure
from ...reports.tails import not_carried
from ..metrics import (
    LATENCIES,
    TOKEN_STATS,
    UTILISATION_STATS,
    UTILISATIONS,
    CostPerMillionTokens,
    EnergyPerToken,
    Goodput,
    GoodputShare,
    rate_metrics,
    step_metrics,
)
from ..metrics.counters import DIRECTIONS
from ..result import Result
from ..stats.summary import PERCENTILES

# An interval of a ratio wholly this close to 1 is no difference that anyone would choose by.
SAME = 0.02
Kind = Literal["sampled", "reading", "count", "quality"]
_LISTING = "'llmbench export RUN --format csv' lists those that a run has"
_SHORT = {"cost": CostPerMillionTokens.id, "energy": EnergyPerToken.id}


@dataclass(frozen=True)
class Quantity(Measure):
    """One number of a result.

    kind: `sampled` comes from many requests or moments, so a comparison has an interval;
    `reading` is averaged over a run's time: exact in virtual time, and else as sure as
    `observed.py` can tell; `count` repeats exactly when the schedule does; `quality` repeats
    exactly over the same tokens, and is as sure as they are many: see `text_quality.py`.
    """

    kind: Kind

    @property
    def sampled(self) -> bool:
        return self.kind == "sampled"

    @property
    def measured(self) -> bool:
        """Whether one more run of the same settings would give another number."""
        return self.kind in ("sampled", "reading")

    @property
    def q(self) -> float | None:
        """The percentile it is, if it is one."""
        return PERCENTILES.get(self.stat)

    def value(self, result: Result) -> float | None:
        """The number in a result; None where the result does not have it."""
        if self.id in GROUPS:
            value = getattr(getattr(result, self.id), self.stat, None)
            return None if value is None else float(value)
        metric = result.metrics.get(self.id)
        return None if metric is None else metric.stats.get(self.stat)

    def finite(self, result: Result) -> float | None:
        """`value`, where it is one that can be shown and averaged."""
        return finite_or_none(self.value(result))

    def is_carried(self, result: Result) -> bool:
        """False of a percentile that the result has of too few samples for one to lie beyond it: a
        number near the maximum, which no report shows."""
        metric = result.metrics.get(self.id)
        if metric is None or self.stat not in metric.stats:
            return True
        samples = int(metric.stats.get("count", result.counters.requests_ok))
        return self.stat not in not_carried(samples)

    def shown(self, result: Result) -> float | None:
        """The number that the run's own report shows; None where it shows none."""
        return self.finite(result) if self.is_carried(result) else None


def finite_or_none(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else value


def find_quantity(field: str, name: str) -> Quantity:
    """The quantity of that name. Raises ConfigError for `field` with the nearest spelling."""
    metric, _, stat = name.partition(".")
    other = f"{_SHORT[metric]}.{stat}" if metric in _SHORT else f"counters.{name}"
    found = QUANTITIES.get(name) or QUANTITIES.get(other)
    if found is None:
        raise unknown_name(field, name, QUANTITIES, _LISTING)
    return found


def _counted_unit(counter: str) -> str:
    """What a counter counts, from its name: `kv_peak_held_tokens` is in tokens."""
    units = ("tokens", "steps", "requests", "swaps")
    return next((unit for unit in units if unit in counter), counter)


def _all() -> tuple[Quantity, ...]:
    no_slo: dict[str, float] = {}
    latencies = [
        Quantity(metric.id, stat, metric.unit, metric.better, kind="sampled")
        for metric in LATENCIES
        for stat in ("mean", *PERCENTILES)
    ]
    rates = [
        Quantity(metric.id, stat, metric.unit, metric.better, kind="sampled")
        for metric in (*rate_metrics(no_slo), Goodput(no_slo))
        for stat in ("window", "run")
    ]
    share = Quantity(GoodputShare.id, "run", GoodputShare.unit, GoodputShare.better, kind="sampled")
    batches = [
        Quantity(metric.id, "mean", metric.unit, metric.better, kind="reading")
        for metric in step_metrics(1)
    ]
    shares_of_peaks = [
        Quantity(metric.id, stat, metric.unit, metric.better, kind="reading")
        for metric in UTILISATIONS
        for stat in UTILISATION_STATS
    ]
    of_a_token = [
        Quantity(metric.id, stat, metric.unit, metric.better, kind="reading")
        for metric in (EnergyPerToken, CostPerMillionTokens)
        for stat in TOKEN_STATS
    ]
    counters = [
        Quantity("counters", name, _counted_unit(name), better, kind="count")
        for name, better in DIRECTIONS.items()
    ]
    return (
        *latencies,
        *rates,
        share,
        *batches,
        *shares_of_peaks,
        *of_a_token,
        Quantity("kv", "waste_share", "share", "lower", kind="reading"),
        *counters,
        Quantity("memory", "weight_bytes", "bytes", "lower", kind="count"),
        Quantity("memory", "kv_bytes", "bytes", "none", kind="count"),
        Quantity("quality", "perplexity", "", "lower", kind="quality"),
        Quantity("quality", "text_kl_mean", "nats/token", "lower", kind="quality"),
        Quantity("quality", "text_kl_p99", "nats/token", "lower", kind="quality"),
        Quantity("quality", "text_top1_agreement", "share", "higher", kind="quality"),
        Quantity("quality", "kl_mean", "nats/token", "lower", kind="quality"),
        Quantity("quality", "top1_agreement", "share", "higher", kind="quality"),
    )


QUANTITIES: dict[str, Quantity] = {quantity.name: quantity for quantity in _all()}
