"""What a factorial is judged by: quantities of a run, each with what it can be resampled by.

A run that was served once is one draw of many chances. Requests are one of them: the same requests
are in every cell, so one draw of them is a draw for all cells, and what makes a request slow
everywhere cancels. A rate or a share over time has no request to go by: it is resampled by
stretches of time, for each cell apart. Perplexity is of one text in every cell: its stretches are
drawn once for all, too. A count is exact.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ...reports.tails import samples_needed
from ..comparison import enough, text_quality
from ..comparison.enough import requests_needed
from ..comparison.observed import Observed
from ..comparison.pairing import Place, place_of
from ..comparison.quantities import QUANTITIES
from ..metrics.base import Better
from ..result import Result
from ..stats.bootstrap import Sample, Statistic, block_length

Scale = Literal["ratio", "difference"]
Sampled = Literal["requests", "time", "text", "exact"]


@dataclass(frozen=True)
class Response:
    """One quantity that the axes may move.

    name: as in `comparison/quantities.py`, or of this file. scale: effects are ratios, averaged as
    logarithms, or differences, where zero is common or the unit is a share.
    """

    name: str
    unit: str
    better: Better
    scale: Scale
    sampled: Sampled

    @property
    def q(self) -> float | None:
        found = QUANTITIES.get(self.name)
        return found.q if found is not None and self.sampled == "requests" else None


@dataclass(frozen=True)
class ByRequest:
    """The values of each request, resampled by request."""

    sample: Sample
    statistic: Statistic

    @property
    def block(self) -> int:
        """Requests that are drawn together."""
        return block_length(self.sample.num_units)

    @property
    def allowance(self) -> float:
        """As in `compare_samples`."""
        return 1.0

    def value(self) -> float:
        return self.statistic.of(self.sample)


@dataclass(frozen=True)
class ByPart(ByRequest):
    """Sums over the parts of a text, resampled by part. Every repeat has the same."""

    @property
    def block(self) -> int:
        """Parts that are drawn together."""
        return text_quality.block_of(self.sample)

    @property
    def allowance(self) -> float:
        return text_quality.ALLOWANCE


@dataclass(frozen=True)
class ByTime:
    """A ratio of sums over stretches of a run: amount / per. Both: [stretches].

    place: where they lie in what every cell has to do; None if nothing says so."""

    amount: NDArray[np.float64]
    per: NDArray[np.float64]
    place: Place | None = None

    def value(self) -> float:
        total = float(self.per.sum())
        return float(self.amount.sum()) / total if total > 0 else float("nan")


@dataclass(frozen=True)
class Exact:
    """A number that has no spread within a run."""

    number: float

    def value(self) -> float:
        return self.number


Measure = ByRequest | ByTime | Exact


def _latency(name: str) -> Response:
    quantity = QUANTITIES[name]
    return Response(name, quantity.unit, quantity.better, "ratio", "requests")


def _count(counter: str) -> Response:
    quantity = QUANTITIES[f"counters.{counter}"]
    return Response(quantity.name, quantity.unit, quantity.better, "difference", "exact")


LATENCIES = tuple(
    _latency(name) for name in ("ttft.mean", "ttft.p99", "tpot.mean", "itl.p99", "e2el.mean")
)
THROUGHPUT_WINDOW = Response("output_throughput.window", "tokens/s", "higher", "ratio", "time")
THROUGHPUT_RUN = Response("output_throughput.run", "tokens/s", "higher", "ratio", "time")
WASTE = Response("kv.waste_share", "share", "lower", "difference", "time")
COUNTS = (
    Response("running.peak", "requests", "none", "difference", "exact"),
    *(_count(name) for name in ("steps", "preemptions", "recomputed_tokens")),
)
PERPLEXITY = Response("quality.perplexity", "", "lower", "ratio", "text")


def responses_for(results: Sequence[Result]) -> tuple[Response, ...]:
    """The responses that every one of the runs has.

    Throughput is over the steady window where all runs have one, and else over the whole run for
    all: a window here and a whole run there are not the same quantity.
    """
    steady = all(result.window.steady for result in results)
    judged = all(result.quality is not None for result in results)
    wanted = (
        *LATENCIES,
        THROUGHPUT_WINDOW if steady else THROUGHPUT_RUN,
        WASTE,
        *COUNTS,
        *((PERPLEXITY,) if judged else ()),
    )
    return tuple(one for one in wanted if all(_measurable(one, result) for result in results))


def measures_of(run: Observed) -> Mapping[str, Measure]:
    """Every response that the run has, by name: all that an analysis needs of its tables."""
    wanted = (*LATENCIES, THROUGHPUT_WINDOW, THROUGHPUT_RUN, WASTE, *COUNTS, PERPLEXITY)
    result = run.stored.result
    return {one.name: measure_of(one, run) for one in wanted if _measurable(one, result)}


def measure_of(response: Response, run: Observed) -> Measure:
    """The response of one run, with what it is resampled by."""
    if response.name == "running.peak":
        return Exact(float(run.stored.steps["running"].max()))
    quantity = QUANTITIES[response.name]
    if response.sampled == "text":
        parts = text_quality.sample_of(quantity, [run.stored.result])
        if parts is not None:
            return ByPart(parts, text_quality.statistic_of(quantity))
    if response.sampled in ("exact", "text"):
        value = quantity.value(run.stored.result)
        return Exact(float("nan") if value is None else value)
    if response.sampled == "time":
        place = place_of(run, quantity)
        sample = run.sample(quantity, place.cut if place else "time")
        return ByTime(sample.values, sample.weights, place)
    return ByRequest(run.sample(quantity), Statistic(quantity.q))


def too_little(response: Response, cells: Sequence[Sequence[tuple[str, Result]]]) -> str:
    """Why no interval of this response can be believed; empty if one can: as of the sides of a
    comparison, where the repeats of a cell count together.

    cells: the runs of each, by name. With repeats, the spread comes from them, so it does not
    matter how many requests each has.
    """
    if response.sampled == "exact":
        return ""
    if response.sampled == "text":
        return _too_little_text(response, [result for runs in cells for _, result in runs])
    repeated = len(cells[0]) > 1
    timed = enough.is_timed(QUANTITIES[response.name])
    named = [run for runs in cells for run in runs] if timed else []
    return enough.disturbed(named) or enough.too_little(
        [[result for _, result in runs] for runs in cells],
        QUANTITIES[response.name],
        needed=0 if repeated else requests_needed(response.q),
    )


def too_few(response: Response, cells: Sequence[Sequence[tuple[str, Result]]]) -> str:
    """Why the response is no number to show: of a percentile, as for a run by itself, that none of
    a run's requests lies beyond it; empty if one does. With repeats the spread comes from them.

    cells: as above.
    """
    if response.q is None or len(cells[0]) > 1:
        return ""
    needed = samples_needed(response.q)
    fewest = min(result.counters.requests_ok for runs in cells for _, result in runs)
    return f"a p{response.q:g} takes {needed} requests" if fewest < needed else ""


def _too_little_text(response: Response, results: Sequence[Result]) -> str:
    quantity = QUANTITIES[response.name]
    unlike = (text_quality.unlike(quantity, results[0], one) for one in results)
    return next(filter(None, unlike), "") or text_quality.too_little_text(results)


def _measurable(response: Response, result: Result) -> bool:
    if response.name not in QUANTITIES:
        return True
    value = QUANTITIES[response.name].value(result)
    return value is not None and bool(np.isfinite(value))
