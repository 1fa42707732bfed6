"""Verdicts on what two sides showed so far, with the chance of any wrong one kept to 5 %.

Several metrics share that chance by Holm's step-down rule, look by look (Ye, Li, Liu and Yao,
Statistics in Medicine 32, 2013: "A group sequential Holm procedure with multiple primary
endpoints"): the clearest metric is judged at a third of the error rate if there are three, the next
at a half once that one is decided, and so on. What is decided stays decided.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..comparison.evidence import ERROR_RATE
from ..comparison.quantities import Quantity
from ..gate.verdicts import Verdict
from ..stats.power import centred, detectable, needed
from ..stats.sequential import Look, looks
from ..stats.signed_rank import Floats, fewest_pairs, interval, upper_p
from .turns import PAIRS_A_QUAD


@dataclass(frozen=True)
class Question:
    """Did this quantity get worse by more than `allowed`, a share of A's value, as everywhere
    (`gate/rules.py`)? 5 % of a rate is 0.95 times as much, and not 1 / 1.05. effect: the worsening,
    such a share, that is wanted to be found; more than `allowed`, and of a rate less than all."""

    quantity: Quantity
    allowed: float
    effect: float

    @property
    def log_allowed(self) -> float:
        """On the scale of `worsening`."""
        return self._log(self.allowed)

    @property
    def log_effect(self) -> float:
        """On the scale of `worsening`."""
        return self._log(self.effect)

    def share(self, log_worse: float) -> float:
        """What `worsening` comes to as a share of A's value."""
        return -math.expm1(-log_worse) if self._falls else math.expm1(log_worse)

    def _log(self, share: float) -> float:
        return -math.log1p(-share) if self._falls else math.log1p(share)

    @property
    def _falls(self) -> bool:
        """Whether to become worse is to become less."""
        return self.quantity.better == "higher"


@dataclass(frozen=True)
class Answer:
    """What is known of a quantity. ratio, low, high: of B / A, the interval at the level that the
    metric is judged at. quads: how many it was judged by. a, b: median trial of each side.
    detectable: the smallest worsening, a share, that so many quads call regressed nine times in
    ten. pairs_needed: how many at most call the wanted effect so, looked at as often as these
    may be; None: more than a thousand."""

    question: Question
    verdict: Verdict
    quads: int
    a: float
    b: float
    ratio: float
    low: float
    high: float
    detectable: float | None = None
    pairs_needed: int | None = None

    @property
    def decided(self) -> bool:
        return self.verdict != "inconclusive"


def worsening(quantity: Quantity, a: Floats, b: Floats) -> Floats:
    """By quad, the log of how much slower B was: above 0 is worse. a, b: [quads, 2] trials."""
    difference = np.log(b).mean(axis=1) - np.log(a).mean(axis=1)
    return -difference if quantity.better == "higher" else difference


class Judge:
    """Looks at growing evidence. most: how many quads there may be. looked: how many times a
    comparison of this kind looks at most, by which the pairs that an effect needs are counted."""

    def __init__(
        self,
        questions: Sequence[Question],
        most: int,
        error_rate: float = ERROR_RATE,
        *,
        looked: int = 1,
    ) -> None:
        self._looked = looked
        self._questions = questions
        self._most = most
        self._error_rate = error_rate
        self._after: list[int] = []
        self._final = False
        self._answers: dict[str, Answer] = {}

    @property
    def fewest(self) -> int:
        """Quads below which no verdict is possible."""
        return fewest_pairs(self._error_rate / len(self._questions))

    def look(
        self, trials: Mapping[str, tuple[Floats, Floats]], *, final: bool = False
    ) -> tuple[Answer, ...]:
        """Judge what is open. trials: by a quantity's name, A's and B's values, [quads, 2], more
        than at the last look. final: there will be no other look."""
        worse = {
            one.quantity.name: worsening(one.quantity, *trials[one.quantity.name])
            for one in self._questions
        }
        self._after.append(len(next(iter(worse.values()))))
        self._final = final
        waiting = [one for one in self._questions if not self._is_decided(one)]
        waiting.sort(key=lambda one: _clarity(worse[one.quantity.name], one.log_allowed))
        open_ = len(waiting)
        for question in waiting:
            # The clearest first: whoever comes after one that stays open has no more to spend.
            level = self._plan(open_)[-1].level
            answer = _answer(question, trials[question.quantity.name], level)
            self._answers[question.quantity.name] = answer
            open_ -= answer.decided
        return tuple(self._answers[one.quantity.name] for one in self._questions)

    def finish(self, trials: Mapping[str, tuple[Floats, Floats]]) -> tuple[Answer, ...]:
        """The answers, with what could have been found, and what finding more would take. trials:
        as at the last look."""
        finished = []
        for question in self._questions:
            name = question.quantity.name
            noise = centred(worsening(question.quantity, *trials[name]))
            share = self._error_rate / len(self._questions)
            least = detectable(noise, self._plan(len(self._questions)))
            effect = question.log_effect - question.log_allowed
            quads = needed(noise, effect, share, looked=self._looked)
            finished.append(
                replace(
                    self._answers[name],
                    detectable=question.share(question.log_allowed + least)
                    if math.isfinite(least)
                    else None,
                    pairs_needed=None if quads is None else PAIRS_A_QUAD * quads,
                )
            )
        return tuple(finished)

    def _plan(self, open_: int) -> tuple[Look, ...]:
        """The looks so far, if so many questions share the error rate."""
        share = self._error_rate / open_
        return looks(tuple(self._after), share, whole=self._most, final=self._final)

    def _is_decided(self, question: Question) -> bool:
        answer = self._answers.get(question.quantity.name)
        return answer is not None and answer.decided


def _clarity(worse: Floats, allowed: float) -> float:
    """The smaller of the two one-sided p-values: small is clear, either way."""
    return min(upper_p(worse, allowed), upper_p(-worse, -allowed))


def _answer(question: Question, trials: tuple[Floats, Floats], level: float) -> Answer:
    a, b = trials
    worse = interval(worsening(question.quantity, a, b), level)
    verdict: Verdict = "inconclusive"
    if worse.low > question.log_allowed:
        verdict = "regressed"
    elif worse.high < 0:
        verdict = "improved"
    elif worse.high <= question.log_allowed:
        verdict = "passed"
    logs = (worse.value, worse.low, worse.high)
    if question.quantity.better == "higher":
        logs = (-worse.value, -worse.high, -worse.low)
    ratio, low, high = map(math.exp, logs)
    return Answer(
        question, verdict, len(a), float(np.median(a)), float(np.median(b)), ratio, low, high
    )
