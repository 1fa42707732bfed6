"""A quantity over the runs of a series: its values, and the steps between levels."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from statistics import median

from ...reports.history_model import History, Kind, Series, Step, Trend
from ...reports.model import Verdict
from ..evidence import agree, counts_repeat, of_window
from ..metrics.base import Better
from ..quantities import Quantity
from ..stats.edivisive import SIGNIFICANCE, change_points, fewest_values
from ..store import RunOnDisk
from .series import describe, group, names, path_text

DEFAULT = (
    *("output_throughput.window", "ttft.p50", "ttft.p99", "tpot.mean", "itl.p99", "e2el.p50"),
    *("kv.waste_share", "counters.steps", "counters.preemptions", "memory.weight_bytes"),
    *("quality.perplexity", "quality.text_kl_mean"),
)


def history_of(
    runs: Sequence[RunOnDisk],
    left_out: Sequence[tuple[str, str]],
    quantities: Sequence[Quantity],
    *,
    significance: float = SIGNIFICANCE,
    command: str = "",
) -> History:
    """Every series of at least two runs; a run that is alone of its kind is counted, and named."""
    groups = group(runs)
    alone = [members[0] for members in groups if len(members) == 1]
    together = [members for members in groups if len(members) > 1]
    return History(
        tuple(
            Series(
                name,
                tuple(map(describe, members)),
                tuple(
                    trend
                    for quantity in quantities
                    if (trend := trend_of(members, quantity, significance)) is not None
                ),
            )
            for name, members in zip(names([one[0] for one in together]), together, strict=True)
        ),
        tuple(left_out),
        significance,
        command,
        tuple(path_text(run.directory) for run in alone),
        fewest_values(significance),
    )


def trend_of(runs: Sequence[RunOnDisk], quantity: Quantity, significance: float) -> Trend | None:
    """None where fewer than two runs have the quantity.

    All of a simulation repeats exactly, and so does a count while the schedule does, or if it is of
    none: there any change is a step. What was measured, and what was counted of requests that came
    by the clock, steps where E-divisive says so.
    """
    values = _alike(runs, quantity)
    known = [(at, value) for at, value in enumerate(values) if value is not None]
    if len(known) < 2:
        return None
    kind: Kind = "exact" if _repeats(runs, quantity) else "measured"
    series = [value for _, value in known]
    if kind == "exact":
        found = [
            (at, None) for at in range(1, len(series)) if not agree(series[at], series[at - 1])
        ]
    else:
        points = change_points(series, significance=significance)
        found = [(one.index, one.p) for one in points]
    return Trend(
        quantity.id,
        quantity.stat,
        quantity.unit,
        quantity.better,
        kind,
        values,
        tuple(_steps(series, [at for at, _ in known], found, quantity.better)),
    )


def _alike(runs: Sequence[RunOnDisk], quantity: Quantity) -> tuple[float | None, ...]:
    """Each run's value. A rate over a whole run is left out where other runs have a steady window:
    that the end of a run is in it is no step."""
    steady = of_window(quantity) and any(run.result.window.steady for run in runs)
    return tuple(
        quantity.value(run.result) if run.result.window.steady or not steady else None
        for run in runs
    )


def _repeats(runs: Sequence[RunOnDisk], quantity: Quantity) -> bool:
    if all(run.result.simulation is not None for run in runs):
        return True
    scheduled = quantity.id == "counters"
    return not quantity.measured and (
        not scheduled or all(counts_repeat(run.result) for run in runs)
    )


def _steps(
    series: Sequence[float],
    places: Sequence[int],
    found: Sequence[tuple[int, float | None]],
    better: Better,
) -> list[Step]:
    """places: which run each value is of."""
    edges = [0, *(at for at, _ in found), len(series)]
    levels = [median(series[a:b]) for a, b in pairwise(edges)]
    return [
        Step(places[at], levels[nth], levels[nth + 1], p, _verdict(levels[nth : nth + 2], better))
        for nth, (at, p) in enumerate(found)
    ]


def _verdict(levels: Sequence[float], better: Better) -> Verdict | None:
    before, after = levels
    if better == "none" or before == after:
        return None
    return "better" if (after > before) == (better == "higher") else "worse"
