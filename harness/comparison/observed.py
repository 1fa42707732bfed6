"""A stored run with its requests as records, and what each of its quantities is resampled by.

A latency has a value a request, or several, and requests are its units. A rate, a cost, which is
the inverse of one, and a mean over time have no request to go by: stretches of the run are their
units, of equal time or of equal work. Shares of a peak and energy are known of a run as a whole,
and of nothing less.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from ..metrics import (
    SEVERAL_A_REQUEST,
    SLO_METRICS,
    CostPerMillionTokens,
    Goodput,
    Interval,
    RateMetric,
    meets,
    rate_metrics,
)
from ..metrics.goodput import GoodputShare
from ..run.record import RequestRecord, RequestStatus
from ..stats.bootstrap import Sample
from ..storage.store import StoredRun
from ..tables.requests import records_of
from .quantities import QUANTITIES, Quantity

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]

STRETCHES = 50
# What stretches of a run are equal in: time, or work, which is output tokens.
Cut = Literal["time", "work"]
_RATES = frozenset(metric.id for metric in (*rate_metrics({}), Goodput({})))
_TAKEN = ("kv_useful_tokens", "kv_reserved_tokens", "kv_internal_tokens", "kv_external_tokens")


def can_be_resampled(quantity: Quantity) -> bool:
    """Whether a run whose tables are known shows more of it than one number."""
    return quantity.sampled or quantity.id == CostPerMillionTokens.id or quantity.name in _OF_STEPS


def by_request(quantity: Quantity) -> bool:
    """Whether the units of its sample are requests."""
    return quantity.sampled and quantity.id not in _RATES


class Observed:
    """A stored run with its requests as records. name: what it is called beside others; its
    directory's, if empty."""

    def __init__(self, stored: StoredRun, name: str = "") -> None:
        self.stored = stored
        self.name = name or stored.directory.name

    @cached_property
    def records(self) -> list[RequestRecord]:
        return records_of(self.stored.requests)

    @property
    def slo(self) -> Mapping[str, float]:
        return self.stored.result.config.get("slo") or {}

    def interval(self, stat: str) -> Interval:
        result = self.stored.result
        if stat == "window":
            return Interval(result.window.start_s, result.window.end_s)
        return Interval(0.0, result.duration_s)

    def span(self, quantity: Quantity) -> Interval:
        """The time whose stretches are the units of its sample, if requests are not."""
        if quantity.id == CostPerMillionTokens.id:
            return self.interval("window")
        return self.interval(quantity.stat if quantity.id in _RATES else "run")

    def work_within(self, span: Interval) -> tuple[float, float]:
        """The shares of all output tokens that were out by its start and by its end."""
        done = np.searchsorted(self._token_times_s, (span.start_s, span.end_s), side="right")
        start, end = (done / max(len(self._token_times_s), 1)).tolist()
        return start, end

    @cached_property
    def _token_times_s(self) -> Floats:
        return np.sort([time_s for one in self.records for time_s in one.token_times_s])

    def sample(self, quantity: Quantity, cut: Cut = "time") -> Sample:
        """What the quantity was computed from; cut: what stretches are equal in, if they are its
        units. Raises ValueError for one that is known of the run as a whole only: see
        `can_be_resampled`."""
        if by_request(quantity):
            return _by_request(quantity, self.records, self.slo)
        if not can_be_resampled(quantity):
            raise ValueError(f"{quantity.name} is known of a run as a whole only")
        edges_s = self._edges_s(self.span(quantity), cut)
        if quantity.id in _RATES:
            return self._rate(quantity, edges_s)
        if quantity.id == CostPerMillionTokens.id:
            return self._cost(quantity, edges_s)
        held, per = _OF_STEPS[quantity.name](self.stored)
        return _over_time(self.stored.steps, edges_s, held, per)

    def _edges_s(self, span: Interval, cut: Cut) -> Floats:
        return equal_times(span) if cut == "time" else equal_work(self._token_times_s, span)

    def _rate(self, quantity: Quantity, edges_s: Floats) -> Sample:
        metric = next(one for one in rate_metrics(self.slo) if one.id == quantity.id)
        return _binned(metric, self.records, edges_s)

    def _cost(self, quantity: Quantity, edges_s: Floats) -> Sample:
        """Price x time over tokens, in the price that the run's own cost tells."""
        rate = self._rate(QUANTITIES[f"{quantity.stat}_throughput.window"], edges_s)
        cost = quantity.value(self.stored.result) or 0.0
        price = cost * float(rate.values.sum() / rate.weights.sum())
        return Sample(price * rate.weights, rate.units, rate.num_units, per=rate.values)


def equal_times(span: Interval) -> Floats:
    """Where stretches of equal time meet: [stretches + 1], in seconds."""
    return np.linspace(span.start_s, span.end_s, STRETCHES + 1)


def equal_work(token_times_s: Floats, span: Interval) -> Floats:
    """Where stretches of as many tokens meet: [stretches + 1], in seconds. Tokens of one step come
    at once; the work of the time since the last ones is spread evenly over it."""
    times_s, counts = np.unique(token_times_s, return_counts=True)
    done = np.concatenate(([0], np.cumsum(counts)))
    times_s = np.concatenate(([0.0], times_s))
    start, end = np.interp((span.start_s, span.end_s), times_s, done)
    edges_s = np.interp(np.linspace(start, end, STRETCHES + 1), done, times_s)
    edges_s[[0, -1]] = span.start_s, span.end_s
    return edges_s


def _by_request(
    quantity: Quantity, records: Sequence[RequestRecord], slo: Mapping[str, float]
) -> Sample:
    """The values of each served request, in order of arrival."""
    values: list[float] = []
    units: list[int] = []
    for unit, record in enumerate(records):
        found = _values(quantity, record, slo)
        values.extend(found)
        units.extend([unit] * len(found))
    return Sample(np.array(values), np.array(units, dtype=np.int64), len(records))


def _values(
    quantity: Quantity, record: RequestRecord, slo: Mapping[str, float]
) -> tuple[float, ...]:
    if quantity.id == GoodputShare.id:
        kept = meets(record, slo)
        return () if kept is None else (float(kept),)
    if record.status is not RequestStatus.OK:
        return ()
    if (several := SEVERAL_A_REQUEST.get(quantity.id)) is not None:
        return several.of(record)
    value = SLO_METRICS[quantity.id].of(record)
    return () if value is None else (value,)


def _binned(metric: RateMetric, records: Sequence[RequestRecord], edges_s: Floats) -> Sample:
    """What each stretch has of it, for the seconds that it lasts."""
    counted = [part for record in records for part in metric.counted(record)]
    amounts, _ = np.histogram(
        np.concatenate([part.times_s for part in counted]) if counted else [],
        bins=edges_s,
        weights=np.repeat([part.amount for part in counted], [len(p.times_s) for p in counted]),
    )
    return _of_stretches(amounts, np.diff(edges_s))


def _of_stretches(amounts: Floats, per: Floats) -> Sample:
    return Sample(amounts, np.arange(len(amounts)), len(amounts), per=per)


def _column(stored: StoredRun, *names: str) -> Floats:
    """The sum of these columns of the table of steps."""
    return stored.steps[list(names)].sum(axis=1).to_numpy(dtype=np.float64)


def _waste(stored: StoredRun) -> tuple[Floats, Floats]:
    """As `metrics/kv.py` weighs it."""
    taken = _column(stored, *_TAKEN)
    return taken - _column(stored, "kv_useful_tokens"), taken


def _batch_tokens(stored: StoredRun) -> tuple[Floats, Floats]:
    tokens = _column(stored, "prefill_tokens", "decode_tokens")
    return tokens, np.ones(len(tokens))


def _batch_requests(stored: StoredRun) -> tuple[Floats, Floats]:
    requests = _column(stored, "prefill_requests", "decode_requests")
    return requests, np.ones(len(requests))


def _budget_utilisation(stored: StoredRun) -> tuple[Floats, Floats]:
    tokens, steps = _batch_tokens(stored)
    return tokens, steps * float(stored.result.config["max_num_batched_tokens"])


# Two numbers of each step: a mean over time is the sum of the first over that of the second, both
# weighed by the steps' seconds.
_OF_STEPS: Mapping[str, Callable[[StoredRun], tuple[Floats, Floats]]] = {
    "kv.waste_share": _waste,
    "batch_tokens.mean": _batch_tokens,
    "batch_requests.mean": _batch_requests,
    "budget_utilisation.mean": _budget_utilisation,
}


def _over_time(steps: pd.DataFrame, edges_s: Floats, values: Floats, per: Floats) -> Sample:
    """What each step held, times its seconds, summed over the stretch that its middle lies in."""
    start_s, end_s = (steps[name].to_numpy(dtype=np.float64) for name in ("start_s", "end_s"))

    def summed(held: Floats) -> Floats:
        weights = held * (end_s - start_s)
        return np.histogram((start_s + end_s) / 2, bins=edges_s, weights=weights)[0]

    return _of_stretches(summed(values), summed(per))
