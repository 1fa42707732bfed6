"""The comparison: trials by turns, looks at the evidence, an end."""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any

from ...engines.errors import ConfigError
from ...reports.format import rounded_percent
from ...reports.tails import samples_needed
from ..comparison.evidence import ERROR_RATE
from ..comparison.quantities import Quantity
from ..errors import InvalidRun
from ..metrics import Goodput, GoodputShare
from ..stats.sequential import schedule
from ..stats.signed_rank import fewest_pairs
from .judge import Answer, Judge, Question
from .limit import TrialLimit
from .pace import Pace
from .protocol import Trial
from .side import InvalidTrial, Side
from .trials import MOST_IDLE_SHARE, Dropped, LeftOut, Trials
from .turns import PAIRS_A_QUAD

LOOKS = 5
_FEWEST_REQUESTS = 4
_PILOTS = 2
_MOST_BAD_PILOTS = 2
TIME_UP, INTERRUPTED = "time was up", "interrupted"


class TooSoon(InvalidRun):
    """Time was up before so many pairs as any verdict takes."""


@dataclass(frozen=True)
class Length:
    """How long a comparison may be. pairs: exactly so many; None: until it is decided, at most
    max_pairs. max_time_s: no quad begins after it. trial_s: about how long a trial should take.
    num_requests: of a trial; None: as many as fill trial_s. trial_timeout_s: after which a side is
    taken to hang; None: as `TrialLimit` derives it."""

    pairs: int | None = None
    max_pairs: int = 80
    max_time_s: float = 600.0
    trial_s: float = 1.0
    num_requests: int | None = None
    trial_timeout_s: float | None = None

    def looks_after(self, metrics: int, error_rate: float) -> tuple[int, ...]:
        """After how many quads to look. Raises ConfigError for fewer pairs than can decide."""
        field, pairs = "max_pairs", self.max_pairs
        if self.pairs is not None:
            field, pairs = "pairs", self.pairs
        quads, share = pairs // PAIRS_A_QUAD, error_rate / metrics
        fewest = fewest_pairs(share)
        if quads < fewest or pairs % PAIRS_A_QUAD:
            raise ConfigError(
                field, pairs, f"an even number from {PAIRS_A_QUAD * fewest} for {metrics} metrics"
            )
        return schedule(quads, share, self.looked)

    @property
    def looked(self) -> int:
        """How many times the evidence is looked at, at most."""
        return LOOKS if self.pairs is None else 1


@dataclass(frozen=True)
class Outcome:
    """What a comparison found. labels, versions, configs: of A and B. a, b: their trials, in order
    of pairs. coin: what decided the order of turns. stopped: why it ended; empty if it did not come
    to its end. cut_short: by what, where that is no trial; else empty. failure: why it proves
    nothing, and then there are no answers; empty if it does. dropped: quads that count for nothing.
    left_out: their trials, and those of a quad that was cut off. questions: what was asked;
    error_rate: the chance of any wrong answer."""

    labels: tuple[str, str]
    versions: tuple[str, str]
    configs: tuple[Mapping[str, Any], Mapping[str, Any]]
    answers: tuple[Answer, ...]
    pairs: int
    num_requests: int
    coin: int
    a: tuple[Trial, ...]
    b: tuple[Trial, ...]
    stopped: str
    idle_share: float
    failure: str = ""
    dropped: tuple[Dropped, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    questions: tuple[Question, ...] = ()
    error_rate: float = ERROR_RATE
    cut_short: str = ""

    @property
    def partial(self) -> bool:
        return not self.stopped

    @property
    def interrupted(self) -> bool:
        return self.cut_short == INTERRUPTED


def compare(
    a: Side,
    b: Side,
    questions: Sequence[Question],
    length: Length,
    *,
    seed: int = 0,
    coin: int | None = None,
    error_rate: float = ERROR_RATE,
    report: Callable[[str], None] = lambda _: None,
    now: Callable[[], float] = monotonic,
) -> Outcome:
    """Take turns until every question is answered, or time or pairs are up.

    seed: of the requests. coin: as in `quad`; None tosses it. What was measured is kept whatever
    ends it, Ctrl-C included: `Outcome.failure` says why it then proves nothing.
    Raises ConfigError where goodput is to be judged by two SLOs, where a trial would have too few
    requests for a percentile, and where the first trials show that the sides are not sent the same
    requests or a metric is not theirs; InvalidRun where the trials could not even be sized.
    """
    _check_same_slo(questions, a, b)
    fewest = _fewest_requests(questions, length, a, b)
    after = length.looks_after(len(questions), error_rate)
    judge = Judge(questions, after[-1], error_rate, looked=length.looked)
    limit = TrialLimit(length.trial_timeout_s, length.max_time_s)
    num_requests = length.num_requests or _sized(a, b, length.trial_s, fewest, limit, report)
    coin = secrets.randbits(63) if coin is None else coin
    trials = Trials(a, b, questions, num_requests, seed, coin, limit)
    answers: tuple[Answer, ...] = ()
    stopped, failure, cut_short = "", "", ""
    try:
        stopped = _take_turns(trials, judge, after, length.max_time_s, now, report)
        failure = _works_when_it_should_wait(trials)
        if not failure:
            answers = judge.finish(trials.values())
    except TooSoon as error:
        failure, cut_short = str(error), TIME_UP
    except InvalidRun as error:
        failure = str(error)
    except ConfigError as error:
        if not trials.quads:
            raise  # a mistake, and nothing that was measured is lost with it
        failure = str(error)
    except KeyboardInterrupt:
        failure = cut_short = INTERRUPTED
    first, second = trials.of("a"), trials.of("b")
    who = a.identity, b.identity
    return Outcome(
        labels=(who[0].label, who[1].label),
        versions=(who[0].version, who[1].version),
        configs=(who[0].config, who[1].config),
        answers=answers,
        pairs=len(first),
        num_requests=num_requests,
        coin=coin,
        a=first,
        b=second,
        stopped=stopped,
        idle_share=trials.idle_share,
        failure=failure,
        dropped=tuple(trials.dropped),
        left_out=trials.left_out,
        questions=tuple(questions),
        error_rate=error_rate,
        cut_short=cut_short,
    )


def _check_same_slo(questions: Sequence[Question], a: Side, b: Side) -> None:
    """Goodput under two SLOs is two quantities. A worker of an older tree does not say its own."""
    slos = [side.identity.config.get("slo") for side in (a, b)]
    judged = any(one.quantity.id in (Goodput.id, GoodputShare.id) for one in questions)
    if judged and None not in slos and slos[0] != slos[1]:
        raise ConfigError("slo", f"{slos[0]} and {slos[1]}", "one for both sides, to judge goodput")


def _fewest_requests(questions: Sequence[Question], length: Length, a: Side, b: Side) -> int:
    """Of a trial. Each has a percentile of its own: of too few requests that is their maximum,
    which sees nothing of what befalls one in a hundred, however many trials there are."""
    asked = max(questions, key=lambda one: _requests_of(one.quantity))
    fewest = _requests_of(asked.quantity)
    has = min(length.num_requests or math.inf, *(one.identity.num_requests for one in (a, b)))
    if has < fewest:
        allowed = f"at least {fewest}: each trial has a {asked.quantity.label} of its own"
        raise ConfigError("num_requests", has, allowed)
    return max(fewest, _FEWEST_REQUESTS)


def _requests_of(quantity: Quantity) -> int:
    return 1 if quantity.q is None else samples_needed(quantity.q)


def _take_turns(
    trials: Trials,
    judge: Judge,
    after: Sequence[int],
    max_time_s: float,
    now: Callable[[], float],
    report: Callable[[str], None],
) -> str:
    """Until there is nothing more to find out. Returns why it ended. after: quads to look after.
    Raises TooSoon where time is up before any verdict is possible."""
    looked, said, now_s = 0, "", now()
    pace = Pace(PAIRS_A_QUAD * judge.fewest, now_s, max_time_s)
    end_s = pace.began_s + max_time_s
    while True:
        report(pace.told(PAIRS_A_QUAD * trials.quads, now_s) + (f"; {said}" if said else ""))
        trials.take()
        now_s = now()
        late, full = now_s > end_s, trials.quads == after[-1]
        if late and trials.quads < judge.fewest:
            raise TooSoon(f"{TIME_UP} {pace.too_few(PAIRS_A_QUAD * trials.quads, now_s)}")
        # A quad that was dropped adds nothing to look at.
        if trials.quads > looked and (late or trials.quads in after):
            answers = judge.look(trials.values(), final=late or full)
            looked = trials.quads
            said = ", ".join(f"{one.question.quantity.label} {one.verdict}" for one in answers)
            report(f"{PAIRS_A_QUAD * trials.quads} pairs: {said}")
            if all(one.decided for one in answers):
                return "every question is answered"
        if full:
            return f"all {PAIRS_A_QUAD * after[-1]} pairs were measured"
        if late:
            return "time is up"


def _works_when_it_should_wait(trials: Trials) -> str:
    share = trials.idle_share
    if share <= MOST_IDLE_SHARE:
        return ""
    used = rounded_percent(share)
    return f"the side that waits used {used} of a processor while the other was measured"


def _sized(
    a: Side,
    b: Side,
    trial_s: float,
    fewest: int,
    limit: TrialLimit,
    report: Callable[[str], None],
) -> int:
    """Requests that take the slower side about so long, and no fewer than those; finding out is
    also both sides' warm-up."""
    report("sizing the trials")
    count, bad, sized = min(max(16, fewest), a.identity.num_requests), 0, 0
    while sized < _PILOTS:
        try:
            # Seeds of their own: no prefix cache may be warm with what will be measured.
            slower_s = max(_pilot(side, 2**31 + sized + bad, count, limit) for side in (a, b))
        except InvalidTrial:
            bad += 1
            if bad > _MOST_BAD_PILOTS:
                raise
            continue
        fits = max(fewest, round(count * trial_s / slower_s))
        # No more than the workload has, or than its options ask for.
        count = min(fits, 32 * count, a.identity.num_requests)
        sized += 1
    return count


def _pilot(side: Side, seed: int, num_requests: int, limit: TrialLimit) -> float:
    began_s = monotonic()
    trial = side.trial(seed, num_requests, limit.of(num_requests))
    limit.note(num_requests, monotonic() - began_s)
    return trial.duration_s
