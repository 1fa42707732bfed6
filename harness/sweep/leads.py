"""Which point of a grid is best, and which others are not surely worse.

The best of many is partly the luckiest, so it is held against every other as
`comparison/compare.py` holds runs: over the requests of one run of each, or over runs where points
were repeated. The intervals hold together for all the others and all quantities (Bonferroni). That
is enough though nobody knew beforehand which would lead: a wrong leader takes a wrong interval
between it and the true best, of which there are only as many as there are others (Hsu,
"Simultaneous confidence intervals for all distances from the 'best'", Annals of Statistics 9,
1981).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from ...reports.sweep_model import SweepLead, SweepRival
from ..comparison.alike import whole_where_mixed
from ..comparison.compare import verdict
from ..comparison.evidence import ERROR_RATE, Finding, examine
from ..comparison.observed import Observed
from ..comparison.quantities import QUANTITIES, Quantity
from ..repeats.directory import Repeats
from ..repeats.pairs import examine_repeats, match
from ..stats.between_runs import FEWEST_RUNS
from ..storage.store import RunOnDisk
from .cells import Done

LEADS = ("output_throughput.window", "ttft.p99", "tpot.mean", "e2el.p50", "kv.waste_share")


@dataclass(frozen=True)
class _Point:
    """runs: of its repeats, those that count."""

    settings: tuple[tuple[str, str], ...]
    runs: tuple[RunOnDisk, ...]

    def value(self, quantity: Quantity) -> float | None:
        """The median of its repeats: the best of all would be the luckiest."""
        values = (quantity.shown(run.result) for run in self.runs)
        known = [value for value in values if value is not None]
        return median(known) if known else None

    def loaded(self) -> _Loaded:
        """With the tables of the run that stands for it where it has no second."""
        alone = len(self.runs) < FEWEST_RUNS
        return _Loaded(self, Observed(self.runs[0].load()) if alone else None)


@dataclass(frozen=True)
class _Loaded:
    point: _Point
    one: Observed | None

    @property
    def observed(self) -> Observed:
        return self.one or Observed(self.point.runs[0].load())

    @property
    def repeats(self) -> Repeats:
        return Repeats(Path(), self.point.runs)


def leads_of(done: Sequence[Done]) -> tuple[SweepLead, ...]:
    """One a quantity of `LEADS` that any point has, of the cells that count."""
    points = _points(done)
    best: dict[Quantity, _Point] = {}
    results = [run.result for point in points for run in point.runs]
    for quantity in (QUANTITIES[name] for name in whole_where_mixed(LEADS, results)):
        known = [one for one in points if one.value(quantity) is not None]
        if known:
            choose = max if quantity.better == "higher" else min
            best[quantity] = choose(known, key=lambda one: one.value(quantity) or 0.0)
    rivals = _rivals(points, best)
    return tuple(_lead(quantity, one, rivals[quantity]) for quantity, one in best.items())


def _lead(quantity: Quantity, point: _Point, rivals: Sequence[SweepRival]) -> SweepLead:
    value = point.value(quantity) or 0.0
    nearest = sorted(rivals, key=lambda one: abs(one.value - value))
    return SweepLead(
        quantity.name,
        dict(point.settings),
        value,
        tuple(one for one in nearest if not one.worse),
        next((one for one in nearest if one.worse), None),
        max(rivals, key=lambda one: abs(one.value - value)).value if rivals else None,
        repeated=len(point.runs) >= FEWEST_RUNS,
    )


def _points(done: Sequence[Done]) -> list[_Point]:
    runs: dict[tuple[tuple[str, str], ...], list[RunOnDisk]] = {}
    for one in done:
        if one.run is not None and not one.failure:
            runs.setdefault(one.cell.settings, []).append(one.run)
    return [_Point(settings, tuple(found)) for settings, found in runs.items()]


def _rivals(
    points: Sequence[_Point], best: Mapping[Quantity, _Point]
) -> dict[Quantity, list[SweepRival]]:
    """Every other point against the best of each quantity. The tables of the best alone stay in
    memory."""
    confidence = 1 - ERROR_RATE / max(1, len(best) * (len(points) - 1))
    leaders = {point.settings: point.loaded() for point in best.values()}
    rivals: dict[Quantity, list[SweepRival]] = {quantity: [] for quantity in best}
    for point in points if len(points) > 1 else ():
        loaded = leaders.get(point.settings) or point.loaded()
        for quantity, leader in best.items():
            value = point.value(quantity)
            if point is leader or value is None:
                continue
            found = _found(leaders[leader.settings], loaded, quantity, confidence)
            rivals[quantity].append(_rival(point, value, found))
    return rivals


def _found(leader: _Loaded, other: _Loaded, quantity: Quantity, confidence: float) -> Finding:
    if min(len(leader.point.runs), len(other.point.runs)) < FEWEST_RUNS:
        return examine(leader.observed, other.observed, quantity, confidence=confidence)
    sides = match(leader.repeats, other.repeats)
    return examine_repeats(sides, quantity, confidence=confidence)


def _rival(point: _Point, value: float, found: Finding) -> SweepRival:
    estimate = found.estimate
    known = estimate is not None and estimate.low < estimate.high < math.inf
    return SweepRival(
        dict(point.settings),
        value,
        estimate.low if estimate and known else None,
        estimate.high if estimate and known else None,
        verdict(found) == "worse",
        found.too_little,
    )
