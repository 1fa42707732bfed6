"""A quantity over the runs of a series: its values, and the steps between levels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import median

from ...reports.history_model import History, Kind, NotCarried, Series, Step, Trend
from ...reports.model import Verdict
from ...reports.tails import samples_needed
from ..comparison.alike import of_window
from ..comparison.compare import should_be_whole
from ..comparison.enough import disturbed, is_timed, too_little
from ..comparison.evidence import agree
from ..comparison.pairing import counts_repeat
from ..comparison.quantities import SAME, Quantity
from ..metrics.base import Better
from ..stats.edivisive import SIGNIFICANCE, ChangePoint, fewest_values
from ..stats.step_family import family_steps
from ..storage.store import RunOnDisk
from .series import describe, group, names, path_text, run_name

DEFAULT = (
    *("output_throughput.window", "ttft.p50", "ttft.p99", "tpot.mean", "itl.p99", "e2el.p50"),
    *("kv.waste_share", "counters.steps", "counters.preemptions", "memory.weight_bytes"),
    *("quality.perplexity", "quality.text_kl_mean"),
)


@dataclass(frozen=True)
class _Known:
    """The values of a quantity that are judged. places: which run each is of."""

    trend: Trend
    quantity: Quantity
    places: tuple[int, ...]
    series: tuple[float, ...]

    @property
    def is_judged(self) -> bool:
        """Whether a test of it could find anything."""
        return self.trend.kind == "measured" and len(set(self.series)) > 1


def history_of(
    runs: Sequence[RunOnDisk],
    left_out: Sequence[tuple[str, str]],
    quantities: Sequence[Quantity],
    *,
    significance: float = SIGNIFICANCE,
    command: str = "",
    stage: Callable[[str], None] = lambda _: None,
) -> History:
    """Every series of at least two runs; a run that is alone of its kind is counted, and named.
    stage: is told what is tested."""
    groups = group(runs)
    alone = [members[0] for members in groups if len(members) == 1]
    together = [members for members in groups if len(members) > 1]
    return History(
        tuple(
            Series(
                name,
                tuple(replace(describe(one), disturbed=_disturbed(one)) for one in members),
                trends_of(members, quantities, significance, stage),
                tuple(_not_carried(members, quantities)),
                next((one.result.simulation.error for one in members if one.result.simulation), ""),
            )
            for name, members in zip(names([one[0] for one in together]), together, strict=True)
        ),
        tuple(left_out),
        significance,
        command,
        tuple(path_text(run.directory) for run in alone),
    )


def trends_of(
    runs: Sequence[RunOnDisk],
    quantities: Sequence[Quantity],
    significance: float,
    stage: Callable[[str], None] = lambda _: None,
) -> tuple[Trend, ...]:
    """Every quantity that at least two runs have.

    All of a simulation repeats exactly, and so does a count while the schedule does, or if it is of
    none: there any change is a step, and of quality one of more than `SAME`. What was measured, and
    what was counted of requests that came by the clock, steps where E-divisive says so, by Holm's
    correction over what is judged of the series: none of it steps by chance but with a chance of
    `significance`.
    """
    known = [one for quantity in quantities if (one := _known(runs, quantity)) is not None]
    family = [at for at, one in enumerate(known) if one.is_judged]
    needs = fewest_values(significance / max(len(family), 1))

    def begins(nth: int) -> None:
        label = known[family[nth]].quantity.label
        stage(f"{label} of {len(runs)} runs, quantity {nth + 1} of {len(family)}: does it step?")

    steps = family_steps(
        [known[at].series for at in family], significance=significance, begins=begins
    )
    found = dict(zip(family, steps, strict=True))
    return tuple(_trend(one, runs, needs, found.get(at, ())) for at, one in enumerate(known))


def _known(runs: Sequence[RunOnDisk], quantity: Quantity) -> _Known | None:
    """Times of runs that others disturbed are in the trend, and in no test."""
    values = _alike(runs, quantity)
    has = [at for at, value in enumerate(values) if value is not None]
    if len(has) < 2:
        return None
    kind: Kind = "exact" if _repeats(runs, quantity) else "measured"
    timed = kind == "measured" and is_timed(quantity)
    left_out = tuple(at for at in has if _disturbed(runs[at])) if timed else ()
    trend = Trend(
        *(quantity.id, quantity.stat, quantity.unit, quantity.better, kind, values, ()), left_out
    )
    places, series = zip(*trend.judged, strict=True) if trend.judged else ((), ())
    return _Known(trend, quantity, places, series)


def _trend(
    known: _Known, runs: Sequence[RunOnDisk], needs: int, found: Sequence[ChangePoint]
) -> Trend:
    if known.trend.kind == "exact":
        series = known.series
        places: list[int] = []
        for at, value in enumerate(series):
            level = series[places[-1] if places else 0]
            if not _is_same(known.quantity, level, value):
                places.append(at)
        return replace(known.trend, steps=_steps(known, [(at, None) for at in places]))
    called, undecided = _long_enough(known, runs, found)
    steps = _steps(known, [(one.index, one.p) for one in called])
    return replace(known.trend, steps=steps, fewest_values=needs, undecided=undecided)


def _is_same(quantity: Quantity, level: float, value: float) -> bool:
    """Of what repeats: whether a value is that of its level's first run. Of quality, a mean over
    thousands of tokens that another kernel or driver sums otherwise, within what a comparison
    calls the same; of a share that should be whole nothing is."""
    if agree(level, value):
        return True
    near = quantity.kind == "quality" and not should_be_whole(quantity)
    return near and abs(value - level) <= SAME * abs(level)


def _long_enough(
    known: _Known, runs: Sequence[RunOnDisk], found: Sequence[ChangePoint]
) -> tuple[list[ChangePoint], str]:
    """Steps between levels of which both were measured for long enough, as of repeated runs, where
    the runs of a side count together; and why others are not called."""
    if known.quantity.kind == "count":
        return list(found), ""
    results = [runs[place].result for place in known.places]
    edges = [0, *(one.index for one in found), len(results)]
    kept: list[ChangePoint] = []
    why = ""
    for nth, one in enumerate(found):
        start, at, end = edges[nth : nth + 3]
        short = too_little([results[start:at], results[at:end]], known.quantity)
        why = why or short
        if not short:
            kept.append(one)
    return kept, why


def _disturbed(run: RunOnDisk) -> str:
    return disturbed([(run_name(run.directory), run.result)])


def _alike(runs: Sequence[RunOnDisk], quantity: Quantity) -> tuple[float | None, ...]:
    """Each run's value. A rate over a whole run is left out where other runs have a steady window:
    that the end of a run is in it is no step. So is a percentile that a run's samples do not
    carry: it is near the maximum, and of more requests it would be another number."""
    steady = of_window(quantity) and any(run.result.window.steady for run in runs)
    return tuple(
        quantity.value(run.result)
        if (run.result.window.steady or not steady) and quantity.is_carried(run.result)
        else None
        for run in runs
    )


def _not_carried(runs: Sequence[RunOnDisk], quantities: Sequence[Quantity]) -> Iterator[NotCarried]:
    """Percentiles that some runs have too few samples for."""
    for quantity in quantities:
        places = [at for at, run in enumerate(runs) if not quantity.is_carried(run.result)]
        if places and quantity.q is not None:
            yield NotCarried(quantity.id, quantity.stat, tuple(places), samples_needed(quantity.q))


def _repeats(runs: Sequence[RunOnDisk], quantity: Quantity) -> bool:
    if all(run.result.simulation is not None for run in runs):
        return True
    scheduled = quantity.id == "counters"
    return not quantity.measured and (
        not scheduled or all(counts_repeat(run.result) for run in runs)
    )


def _steps(known: _Known, found: Sequence[tuple[int, float | None]]) -> tuple[Step, ...]:
    edges = [0, *(at for at, _ in found), len(known.series)]
    levels = [median(known.series[a:b]) for a, b in pairwise(edges) if a < b]
    better = known.quantity.better
    return tuple(
        Step(
            known.places[at],
            levels[nth],
            levels[nth + 1],
            p,
            _verdict(levels[nth : nth + 2], better),
        )
        for nth, (at, p) in enumerate(found)
    )


def _verdict(levels: Sequence[float], better: Better) -> Verdict | None:
    before, after = levels
    if better == "none" or before == after:
        return None
    return "better" if (after > before) == (better == "higher") else "worse"
