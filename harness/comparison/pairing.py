"""What two runs had to do alike, so that how much it was cancels between them.

Requests of one plan are pairs. A rate has no request to go by, and its run is cut into stretches:
of time, where the clock said what was due when, and of work, where engines set their own pace.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from ..result import Result
from ..storage.store import StoredRun
from .observed import STRETCHES, Cut, Observed, by_request
from .output_lengths import may_end_early
from .quantities import Quantity


class Pairs(Enum):
    """What of two runs are pairs."""

    NONE = "none"
    REQUESTS = "requests"
    TIMES = "times"
    WORK = "work"

    @property
    def cut(self) -> Cut:
        """What stretches of a run are equal in."""
        return "work" if self is Pairs.WORK else "time"


@dataclass(frozen=True)
class Place:
    """Where the stretches of a run lie: from start to end, in seconds if they are of equal time,
    and in shares of all its tokens if of equal work."""

    cut: Cut
    start: float
    end: float


def place_of(run: Observed, quantity: Quantity) -> Place | None:
    """Where the stretches of a quantity lie in what every run of the plan has to do.

    In time where requests fall due by the clock: each stretch has the same to do. In work in a
    closed loop: the n-th fiftieth of the tokens is of the same requests, however long it takes.
    None where neither says what is in a stretch: turns wait for replies and for people, and replies
    that a model may end are of other lengths. And none
    without a steady window: what is not steady has not the same everywhere.
    """
    result = run.stored.result
    if _has_turns(result) or not result.window.steady:
        return None
    span = run.span(quantity)
    if is_due_by_clock(result):
        return Place("time", span.start_s, span.end_s)
    if may_end_early(result):
        return None
    return Place("work", *run.work_within(span))


def are_alike(places: Sequence[Place | None]) -> bool:
    """Whether stretches of these runs are pairs: of one kind, beginning and ending at the same
    place, by less than a stretch."""
    first, *others = places
    if first is None:
        return False
    least = (first.end - first.start) / STRETCHES
    return all(
        one is not None
        and one.cut == first.cut
        and max(abs(one.start - first.start), abs(one.end - first.end)) < least
        for one in others
    )


def pairs_of(baseline: Observed, current: Observed, quantity: Quantity) -> Pairs:
    """What both runs did alike, unit by unit of the quantity's sample."""
    if not same_requests(baseline.stored, current.stored):
        return Pairs.NONE
    if by_request(quantity):
        return Pairs.REQUESTS
    one, other = (place_of(each, quantity) for each in (baseline, current))
    if one is None or not are_alike((one, other)):
        return Pairs.NONE
    return Pairs.WORK if one.cut == "work" else Pairs.TIMES


def same_requests(baseline: StoredRun, current: StoredRun) -> bool:
    """Whether both runs were sent the same bytes at the same times, and recorded all of it."""
    same_plan = baseline.result.workload.fingerprint == current.result.workload.fingerprint
    return same_plan and list(baseline.requests["index"]) == list(current.requests["index"])


def counts_repeat(result: Result) -> bool:
    """Whether the same settings give the same schedule, and so the same counts: in virtual time, or
    in this process if no request falls due by the clock and no step waits by it."""
    if result.simulation is not None:
        return True
    if result.config.get("delay_factor"):
        return False
    return result.target is None and not _has_turns(result) and not is_due_by_clock(result)


def is_due_by_clock(result: Result) -> bool:
    """Whether requests came when the clock said, and waited for no reply."""
    sent = result.workload.description
    rate_per_s = sent.get("offered_rate_per_s", result.config.get("request_rate"))
    return rate_per_s is not None and not _has_turns(result)


def _has_turns(result: Result) -> bool:
    """Whether requests wait for replies to earlier ones."""
    sent = result.workload.description
    return sent.get("num_sessions") != sent.get("num_requests")
