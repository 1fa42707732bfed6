"""Whether runs show enough to conclude anything: how many requests, how long, and undisturbed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ...reports.facts import counted_as
from ...reports.format import plural
from ...reports.tails import samples_for_interval
from ..metrics import InterChunkLatency, InterTokenLatency, TimePerOutputToken
from ..result import HELD_BACK, LATE_GAPS, LATE_SPANS, Result
from .quantities import Quantity

# Below these a bootstrap knows too little of the spread to be trusted, and a machine's own rhythm
# (frequency, other processes, garbage collection) has not been seen.
FEWEST_REQUESTS = 20
SHORTEST_RUN_S = 5.0
# What only replies in several parts have.
PACES = (TimePerOutputToken.id, InterTokenLatency.id, InterChunkLatency.id)
_MOST_HELD_BACK = 0.01  # of served requests
_NOT_TIMED = ("kv", "batch_tokens", "batch_requests", "budget_utilisation")


def is_timed(quantity: Quantity) -> bool:
    """Whether it is a time, or made of times: a rate, what keeps a limit, a share of a peak, what a
    token costs. What steps computed and what memory held is none."""
    return quantity.measured and quantity.id not in _NOT_TIMED


def too_little(sides: Sequence[Sequence[Result]], quantity: Quantity, *, needed: int = 0) -> str:
    """Why nothing can be concluded from these runs, whatever the interval; empty if something can.

    sides: the runs of each, which count together. needed: how many requests with a value the
    quantity takes on each side. A short run has not seen a machine's rhythm: of a simulated one
    there is none, and what steps computed and memory held does not go by it.
    """
    if quantity.id in PACES and (why := _held_back(sides) or _read_late(sides, quantity)):
        return why
    goes_by_machine = is_timed(quantity) and not all(
        result.simulation is not None for side in sides for result in side
    )
    shortest_s, runs = min((sum(one.duration_s for one in side), len(side)) for side in sides)
    if shortest_s < SHORTEST_RUN_S and goes_by_machine:
        is_short = f"a run of {shortest_s:.1f} s is too short"
        if runs > 1:
            is_short = f"runs of {shortest_s:.1f} s together are too short"
        return f"{is_short} (at least {SHORTEST_RUN_S:g} s)"
    fewest = min(sum(_requests_with(quantity, one) for one in side) for side in sides)
    if fewest < needed:
        served = min(sum(one.counters.requests_ok for one in side) for side in sides)
        replies = all(counted_as(one.config)[0] == "reply" for side in sides for one in side)
        many = "served replies" if replies else "served requests"
        who = many if fewest == served else f"of {served} {many} have it and"
        return f"{fewest} {who} are too few to compare {quantity.label}, which needs {needed}"
    return ""


def _requests_with(quantity: Quantity, result: Result) -> int:
    """How many served requests have a value of it. A gap between tokens, or between chunks, has
    whoever has a pace; a reply of one token has neither."""
    counts = [result.counters.requests_ok]
    names = {quantity.id, TimePerOutputToken.id} if quantity.id in PACES else {quantity.id}
    for name in names:
        metric = result.metrics.get(name)
        if metric is not None and "count" in metric.stats:
            counts.append(int(metric.stats["count"]))
    return min(counts)


def _held_back(sides: Sequence[Sequence[Result]]) -> str:
    """Why paces decide nothing: of whom replies come at once, the slow ones perhaps, only the pace
    of the others is seen."""
    for side in sides:
        for result in side:
            check = result.validity.find(HELD_BACK)
            if check is not None and (check.value or 0.0) > _MOST_HELD_BACK:
                return f"{check.detail}: the pace of the others is not that of all"
    return ""


def _read_late(sides: Sequence[Sequence[Result]], quantity: Quantity) -> str:
    """Why a pace decides nothing: the client's own lag is too much of it. A mean of gaps is that of
    spans, and a median moves by less than the lag of one beat in a hundred; any other number of
    gaps is made of the few that were read latest."""
    of_spans = quantity.id == TimePerOutputToken.id or quantity.stat in ("mean", "p50")
    name = LATE_SPANS if of_spans else LATE_GAPS
    found = (result.validity.find(name) for side in sides for result in side)
    return next((check.detail for check in found if check is not None and not check.ok), "")


def disturbed(runs: Iterable[tuple[str, Result]]) -> str:
    """Why times of these runs, by name, decide nothing: others used the machine, or it was held
    back, by more than the checks of a run allow. Empty if they may decide. No interval covers it:
    it would call the disturbance a difference."""
    found = {
        name: f"{result.validity.disturbances[0].detail} while {name} was measured"
        for name, result in runs
        if result.validity.disturbed
    }
    more = f" (and {plural(len(found) - 2, 'more run')} alike)" if len(found) > 2 else ""
    return f"{' and '.join(list(found.values())[:2])}{more}"


def requests_needed(q: float | None) -> int:
    """Served requests below which an interval is not to be trusted. q: of a percentile."""
    return max(FEWEST_REQUESTS, 0 if q is None else samples_for_interval(q))
