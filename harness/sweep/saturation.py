"""The request rate that a system no longer follows: found by running it at growing rates.

A system follows an offered rate if it keeps up with it (`keeping_up.py`) and, where there is an
SLO, enough requests keep that. The search is `rate_search/bracket.py`'s: bracketed by growing
factors, bisected, and tried around the answer, because nothing guarantees one threshold.

It begins below what is served a second of a run that is sent everything at once, so that few trials
are of rates far from the answer: at a tenth of it a trial takes ten times as long.

How long must a run be to show this? Latencies near the limit are not known beforehand, so what is
asked is that length no longer matters: the search goes on beside its answer with four times as many
requests, and again, until the answer stays. In runs that are too short it does not stay: they end
before the system has filled (then it rises with more) or before a queue has grown past the SLO
(then it falls).

Where chance alone is as much as may grow, or what grows is a system that fills, the search goes on
with four times as many requests.

A run that is no evidence (`trial.py`) ends the search.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from ...engines.errors import ConfigError
from ...reports.format import rounded_percent
from ...workloads.scaled import Arriving, requests_per_session
from ..rate_search.beside import beside
from ..rate_search.bracket import HIGHEST_RATE_PER_S, check_search, find_capacity
from .cells import Sweep, until_done
from .grid import NUM_REQUESTS, RATE, Cell
from .keeping_up import KEPT_UP
from .trial import Trial, judged, served_per_s

LOWEST_PER_S = 1e-2
# Of what is served a second where everything comes at once: then batches are as large as they can
# be, so that little more is followed, and with an SLO less.
_BEGIN_AT = 0.75
MORE, MOST_TIMES = 4, 64


@dataclass(frozen=True)
class SaturationGoal:
    """attainment: share of the requests that must keep the SLO; None without one. tolerance: how
    far apart, as a share, the rate that is followed and the one that is not may be. start_per_s:
    the first rate; None: found by a run of everything at once."""

    attainment: float | None
    tolerance: float
    start_per_s: float | None = None

    def __post_init__(self) -> None:
        check_search(1.0 if self.attainment is None else self.attainment, self.tolerance)
        start = self.start_per_s
        if start is not None and not LOWEST_PER_S <= start <= HIGHEST_RATE_PER_S:
            raise ConfigError(
                "start_rate", start, f"{LOWEST_PER_S} to {HIGHEST_RATE_PER_S:g} a second"
            )

    def criterion(self, arriving: Arriving = "requests") -> str:
        """What it is to follow, in words."""
        ends = (
            f"{arriving} end as fast as they come: after the first quarter of a run, those in the "
            f"system grow by no more than {rounded_percent(1 - KEPT_UP)} of those that come"
        )
        if self.attainment is None:
            return ends
        return f"{100 * self.attainment:.4g} % of the requests keep the SLO, and {ends}"


@dataclass(frozen=True)
class Saturation:
    """What was found at one point of a grid. Rates are of what arrives: requests, or sessions where
    later turns wait for replies. holds_per_s: the highest rate that was followed,
    fails_per_s: the lowest above it that was not; None: there is none, inf: all at once. unknown:
    the search had to end, failure says why, and the rates are what is known so far. exceptions:
    rates that contradict a single threshold. trials: every run, by rate and then by length."""

    point: Cell
    outcome: Literal["found", "never", "unknown"]
    holds_per_s: float | None
    fails_per_s: float | None
    trials: tuple[Trial, ...]
    exceptions: tuple[float, ...] = ()
    failure: str = ""

    @property
    def per_session(self) -> float | None:
        """How many requests each session brings, in the longest runs, where sessions are what
        arrives and rates are of; None: requests arrive."""
        return _per_session(self.trials)


def _per_session(trials: Sequence[Trial]) -> float | None:
    stored = [one for one in trials if one.done.run is not None]
    if not stored:
        return None
    longest = max(stored, key=lambda one: one.times).done.run
    assert longest is not None
    return requests_per_session(longest.result.workload.description)


class SearchInterruptedError(KeyboardInterrupt):
    """Ctrl-C. so_far: what the search knew by then; its outcome is `unknown`."""

    def __init__(self, so_far: Saturation) -> None:
        super().__init__()
        self.so_far = so_far


class _NoAnswerError(Exception):
    """Why a search cannot go on."""


def find_saturation(
    sweep: Sweep, point: Cell, goal: SaturationGoal, report: Callable[[str], None]
) -> Saturation:
    """Search at one point. Trials that are stored are found, and so the search goes on where it
    stopped. Raises SearchInterruptedError on Ctrl-C."""
    trials = _Trials(sweep, point, goal, report)
    found = None
    try:
        found = _settled(trials, goal)
        # What contradicts the answer is run again, and so this belongs to the search.
        exceptions = () if found is None else trials.exceptions(*found)
    except _NoAnswerError as error:
        report(str(error))
        return _unknown(trials, found, str(error))
    except KeyboardInterrupt as error:
        raise SearchInterruptedError(_unknown(trials, found, "interrupted")) from error
    if found is None:
        return Saturation(point, "never", None, trials.bracket(unsure=True)[1], trials.tried)
    return Saturation(point, "found", *found, trials.tried, exceptions)


def _unknown(trials: _Trials, found: tuple[float, float] | None, why: str) -> Saturation:
    """A search that had to end. found: its answer, where that was still to be tried around."""
    holds, fails = found or trials.bracket()
    return Saturation(trials.point, "unknown", holds, fails, trials.tried, (), why)


def _settled(trials: _Trials, goal: SaturationGoal) -> tuple[float, float] | None:
    """The rate that is followed and the one that is not, where more requests move them no more, by
    the last two lengths; None if no rate is followed."""
    first = find_capacity(
        lambda rate_per_s: float(trials.followed(rate_per_s)),
        target=1.0,
        tolerance=goal.tolerance,
        start_per_s=goal.start_per_s or trials.begin_at(),
        lowest_per_s=LOWEST_PER_S,
    )
    if first.holds is None:
        return None
    found = first.holds.rate_per_s, first.fails.rate_per_s if first.fails else math.inf
    while True:
        trials.times *= MORE
        before, found = found, beside(trials.followed, found, goal.tolerance, LOWEST_PER_S)
        if found is None:
            return None
        # Its neighbour: brackets lie where they happen to, and one may end where the other begins.
        # Which of the two is right is not known, so the answer is what both allow.
        stays = max(before[0], found[0]) <= min(before[0], found[0]) * (1 + goal.tolerance) ** 2
        if stays and all(map(trials.is_sure, found)):
            return min(before[0], found[0]), max(before[1], found[1])
        if trials.times == MOST_TIMES:
            of = "requests" if _per_session(trials.tried) is None else "sessions"
            moved = f"the highest rate still moved, from {before[0]:.4g} to {found[0]:.4g} {of}/s"
            unsure = f"runs at {found[0]:.4g} to {found[1]:.4g} {of}/s are still too short to tell"
            raise _NoAnswerError(
                f"{unsure if stays else moved}, with {trials.times} times the requests; "
                "begin with more"
            )


class _Trials:
    """Runs at rates, each of `times` the requests that the command sends."""

    def __init__(
        self, sweep: Sweep, point: Cell, goal: SaturationGoal, report: Callable[[str], None]
    ) -> None:
        self._sweep = sweep
        self.point = point
        self._goal = goal
        self._report = report
        self._requests = 0
        self._found: dict[tuple[float, int], Trial] = {}
        self.times = 1

    @property
    def tried(self) -> tuple[Trial, ...]:
        return tuple(self._found[key] for key in sorted(self._found))

    def begin_at(self) -> float:
        """The first rate, by what a run of everything at once serves a second, be it valid or not:
        it is no evidence. Raises _NoAnswerError where there is no such run, or it serves
        nothing."""
        cell = self._cell((RATE, "inf"))
        self._report(f"{cell.name}: everything at once, to find a rate to begin at")
        done = until_done(self._sweep, cell)
        if done.run is None:
            raise _NoAnswerError(f"{cell.name}: {done.failure}")
        served = served_per_s(done.run)
        if not served:
            raise _NoAnswerError(
                f"{cell.name}: nothing of everything at once was served, so that no rate to begin "
                f"at is known; say --start-rate ({done.failure})"
            )
        begin = min(max(_BEGIN_AT * served, LOWEST_PER_S), HIGHEST_RATE_PER_S)
        return float(f"{begin:.2g}")

    def followed(self, rate_per_s: float) -> bool:
        """Raises _NoAnswerError where a run proves nothing."""
        if math.isinf(rate_per_s):
            return False  # all at once is a burst: nothing keeps up with it
        trial = self._at(rate_per_s, self.times)
        # One length is left, to hold the answer against.
        while not trial.sure and self.times * MORE < MOST_TIMES:
            self.times *= MORE
            trial = self._at(rate_per_s, self.times)
        if trial.followed is None:
            raise _NoAnswerError(trial.outcome)
        return trial.followed

    def is_sure(self, rate_per_s: float) -> bool:
        """Of a rate that was tried with as many requests as the last."""
        trial = self._found.get((rate_per_s, self.times))
        return trial is None or trial.sure

    def _at(self, rate_per_s: float, times: int) -> Trial:
        key = (rate_per_s, times)
        trial = self._found.get(key)
        if trial is None:
            trial = self._found[key] = self._tried(rate_per_s, times)
        return trial

    def bracket(self, *, unsure: bool = False) -> tuple[float | None, float | None]:
        """The highest rate that was followed and the lowest that was not, by the longest run at
        each. unsure: also by runs that are too short to tell."""
        longest = {one.rate_per_s: one for one in self.tried if one.followed is not None}
        told = [one for one in longest.values() if one.sure or unsure]
        return (
            max((one.rate_per_s for one in told if one.followed), default=None),
            min((one.rate_per_s for one in told if not one.followed), default=None),
        )

    def exceptions(self, holds_per_s: float, fails_per_s: float) -> tuple[float, ...]:
        """Rates that contradict the answer, also if as many requests are sent as for it."""
        contradicting = [
            one.rate_per_s
            for one in self.tried
            if (one.followed and one.rate_per_s > fails_per_s)
            or (
                one.followed is False
                and one.rate_per_s < holds_per_s
                and (one.too_late or one.times == self.times)
            )
        ]
        return tuple(
            rate
            for rate in dict.fromkeys(contradicting)
            if self.followed(rate) == (rate > fails_per_s)
        )

    def _tried(self, rate_per_s: float, times: int) -> Trial:
        more = () if times == 1 else ((NUM_REQUESTS, str(times * self._requests)),)
        cell = self._cell((RATE, f"{rate_per_s:.6g}"), *more)
        self._report(f"trying {cell.name}")
        done = until_done(self._sweep, cell)
        if done.run is not None and times == 1:
            self._requests = done.run.result.workload.num_requests
        trial = judged(rate_per_s, times, done, self._goal.attainment)
        if trial.followed is not None:
            self._report(f"  {trial.outcome}")
        return trial

    def _cell(self, *more: tuple[str, str]) -> Cell:
        return Cell((*self.point.settings, *more), self.point.repeat, self.point.seed)
