"""What two runs had to do alike, so that how much it was cancels between them.

Requests of one plan are pairs. A rate has no request to go by, and its run is cut into stretches:
of time, where the clock said what was due when, and of work, where engines set their own pace.
"""

from __future__ import annotations

from enum import Enum

from ..result import Result
from ..storage.store import StoredRun
from .observed import STRETCHES, Cut, Observed, by_request
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


def pairs_of(baseline: Observed, current: Observed, quantity: Quantity) -> Pairs:
    """What both runs did alike, unit by unit of the quantity's sample.

    Stretches of the same time where requests fell due by the clock, in steady windows: both had the
    same to do in each. In a closed loop stretches of as many tokens, for the n-th fiftieth of them
    is of the same requests, and takes each engine as long as it takes. Both spans must begin and
    end at the same place, by less than a stretch. Turns wait for replies and for people: neither
    the clock nor the engine says what is in a stretch.
    """
    if not same_requests(baseline.stored, current.stored):
        return Pairs.NONE
    if by_request(quantity):
        return Pairs.REQUESTS
    results = (baseline.stored.result, current.stored.result)
    if any(_has_turns(one) for one in results) or not all(one.window.steady for one in results):
        return Pairs.NONE
    by_clock = [is_due_by_clock(one) for one in results]
    if any(by_clock):
        alike = all(by_clock) and _at_the_same_time(baseline, current, quantity)
        return Pairs.TIMES if alike else Pairs.NONE
    return Pairs.WORK if _over_the_same_work(baseline, current, quantity) else Pairs.NONE


def _at_the_same_time(baseline: Observed, current: Observed, quantity: Quantity) -> bool:
    one, other = (each.span(quantity) for each in (baseline, current))
    apart_s = max(abs(one.start_s - other.start_s), abs(one.end_s - other.end_s))
    return apart_s * STRETCHES < one.duration_s


def _over_the_same_work(baseline: Observed, current: Observed, quantity: Quantity) -> bool:
    one, other = (each.work_within(each.span(quantity)) for each in (baseline, current))
    apart = max(abs(one[0] - other[0]), abs(one[1] - other[1]))
    return apart * STRETCHES < one[1] - one[0]


def same_requests(baseline: StoredRun, current: StoredRun) -> bool:
    """Whether both runs were sent the same bytes at the same times, and recorded all of it."""
    same_plan = baseline.result.workload.fingerprint == current.result.workload.fingerprint
    return same_plan and list(baseline.requests["index"]) == list(current.requests["index"])


def counts_repeat(result: Result) -> bool:
    """Whether the same settings give the same schedule, and so the same counts: in virtual time, or
    in this process if no request falls due by the clock."""
    if result.simulation is not None:
        return True
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
