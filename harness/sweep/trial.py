"""One run at a rate, and what it shows of that rate.

A run that is not valid is no evidence: a client that was too busy says nothing about the server.
One that is not valid because requests failed is evidence against its rate: what a system refuses it
does not follow.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...workloads.scaled import Arriving, arriving
from ..comparison.admissible import objections
from ..storage.store import RunOnDisk
from .cells import Done
from .keeping_up import FEWEST_REQUESTS, kept_up

_OUTCOMES = {
    (True, False): "followed",
    (False, False): "not followed: a queue grows",
    (False, True): "not followed: too few requests keep the SLO, or some are refused",
}


@dataclass(frozen=True)
class Trial:
    """One run at a rate. times: how many times the command's requests it was sent. followed: None
    where the run proves nothing. too_late: not followed because of the SLO, or of what was refused,
    and not because of a queue, which every short run seems to have. sure: whether that is more than
    chance."""

    rate_per_s: float
    times: int
    done: Done
    followed: bool | None
    too_late: bool = False
    sure: bool = True

    @property
    def outcome(self) -> str:
        """What it shows, in words."""
        if self.followed is None:
            return self._why_nothing()
        return _OUTCOMES[self.followed, self.too_late] if self.sure else "too short to tell"

    def _why_nothing(self) -> str:
        name = self.done.cell.name
        if self.done.run is None:
            return f"{name}: {self.done.failure}"
        if self.done.failure:
            return f"{name} is not valid: {self.done.failure}"
        sent, what = _arrivals(self.done.run)
        return f"{name}: in {sent} {what} no queue shows; send at least {FEWEST_REQUESTS}"


def judged(rate_per_s: float, times: int, done: Done, attainment: float | None) -> Trial:
    """What a run shows. attainment: share of the requests that must keep the SLO; None without
    one."""
    run = done.run
    if run is None:
        return Trial(rate_per_s, times, done, None)
    if refuses(run):
        return Trial(rate_per_s, times, done, followed=False, too_late=True)
    if objections(run) or _arrivals(run)[0] < FEWEST_REQUESTS:
        return Trial(rate_per_s, times, done, None)
    kept = run.result.metrics.get("goodput_share")
    if attainment is not None and (kept is None or kept.stats["run"] < attainment):
        return Trial(rate_per_s, times, done, followed=False, too_late=True)
    found = kept_up(run)
    return Trial(rate_per_s, times, done, found.enough, sure=found.sure)


def refuses(run: RunOnDisk) -> bool:
    """Whether all that is wrong with a run is that some of its requests were not served."""
    fatal = [check.id for check in run.result.validity.failures if check.fatal]
    return fatal == ["errors"] and run.result.counters.requests_ok > 0


def served_per_s(run: RunOnDisk) -> float:
    """Of what arrives; 0 where nothing was served. A reply is its request's part, of as many as
    each was asked for."""
    served = run.result.counters.requests_ok
    if not served:
        return 0.0  # such a run may have lasted no time
    sent, _ = _arrivals(run)
    samples = int(run.result.config.get("samples") or 1)
    return served * sent / (run.result.workload.num_requests * samples) / run.result.duration_s


def _arrivals(run: RunOnDisk) -> tuple[int, Arriving]:
    """How many of what arrived."""
    sent = run.result.workload
    what = arriving(sent.description)
    return (sent.num_requests if what == "requests" else sent.description["num_sessions"]), what
