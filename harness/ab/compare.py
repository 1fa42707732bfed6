"""The comparison: trials by turns, looks at the evidence, an end."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any

import numpy as np

from ...engines.errors import ConfigError
from ..errors import InvalidRun
from ..evidence import ERROR_RATE
from ..stats.sequential import first_look
from ..stats.signed_rank import Floats, fewest_pairs
from .judge import Answer, Judge, Question
from .protocol import Trial
from .side import Side
from .turns import PAIRS_A_QUAD, quad

LOOKS = 5
# Of a processor, while the other side is measured; a worker's threads may spin a moment longer.
MOST_IDLE_SHARE = 0.1
_FEWEST_REQUESTS = 4
_PILOTS = 2


@dataclass(frozen=True)
class Length:
    """How long a comparison may be. pairs: exactly so many; None: until it is decided, at most
    max_pairs. max_time_s: no quad begins after it. trial_s: about how long a trial should take.
    num_requests: of a trial; None: as many as fill trial_s."""

    pairs: int | None = None
    max_pairs: int = 80
    max_time_s: float = 600.0
    trial_s: float = 1.0
    num_requests: int | None = None

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
        if self.pairs is not None:
            return (quads,)
        first = first_look(quads, share)
        gap = (quads - first) / (LOOKS - 1)
        return tuple(sorted({round(first + look * gap) for look in range(LOOKS)}))


@dataclass(frozen=True)
class Outcome:
    """What a comparison found. labels, versions, configs: of A and B. a, b: their trials, in order
    of pairs. coin: what decided the order of turns. stopped: why it ended."""

    labels: tuple[str, str]
    versions: tuple[str, str]
    configs: tuple[Mapping[str, Any], Mapping[str, Any]]
    answers: tuple[Answer, ...]
    pairs: int
    num_requests: int
    fingerprints: tuple[str, ...]
    coin: int
    a: tuple[Trial, ...]
    b: tuple[Trial, ...]
    stopped: str
    idle_share: float


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

    seed: of the requests. coin: as in `quad`; None tosses it.
    Raises ConfigError where the sides cannot be sent the same requests or a metric is not theirs,
    and InvalidRun for a trial that proves nothing and for a side that works when it should wait.
    """
    after = length.looks_after(len(questions), error_rate)
    judge = Judge(questions, after[-1], error_rate)
    num_requests = length.num_requests or _sized(a, b, length.trial_s, report)
    turns = _Turns(a, b, num_requests, seed, secrets.randbits(63) if coin is None else coin)
    end_s = now() + length.max_time_s
    while True:
        turns.take()
        late, full = now() > end_s, turns.quads == after[-1]
        if turns.quads in after or late:
            if turns.quads < fewest_pairs(error_rate / len(questions)):
                raise InvalidRun(
                    f"{length.max_time_s:g} s were up after {turns.quads} quads of trials, too few "
                    "for any verdict: allow more time, or shorter trials"
                )
            answers = judge.look(turns.values(questions), final=late or full)
            said = ", ".join(one.verdict for one in answers)
            report(f"{PAIRS_A_QUAD * turns.quads} pairs: {said}")
            if all(one.decided for one in answers) or late or full:
                break
    stopped = f"all {PAIRS_A_QUAD * after[-1]} pairs were measured"
    if late and not full:
        stopped = "time is up"
    if all(one.decided for one in answers):
        stopped = "every question is answered"
    return turns.outcome(judge.finish(turns.values(questions)), stopped)


def _sized(a: Side, b: Side, trial_s: float, report: Callable[[str], None]) -> int:
    """Requests that take the slower side about so long; finding out is also both sides' warm-up."""
    report("sizing the trials")
    count = min(16, a.prepared.num_requests)
    for pilot in range(_PILOTS):
        # Seeds of their own: no prefix cache may be warm with what will be measured.
        slower_s = max(side.trial(2**31 + pilot, count).duration_s for side in (a, b))
        fits = max(_FEWEST_REQUESTS, round(count * trial_s / slower_s))
        # No more than the workload has, or than its options ask for.
        count = min(fits, 32 * count, a.prepared.num_requests)
    return count


class _Turns:
    """Both sides' trials so far."""

    def __init__(self, a: Side, b: Side, num_requests: int, seed: int, coin: int) -> None:
        self._sides = {"a": a, "b": b}
        self._num_requests = num_requests
        self._seed, self._coin = seed, coin
        self._trials: dict[str, dict[int, Trial]] = {"a": {}, "b": {}}
        self._idle_s = self._measured_s = 0.0

    @property
    def quads(self) -> int:
        return len(self._trials["a"]) // PAIRS_A_QUAD

    def take(self) -> None:
        """The next quad."""
        number = self.quads
        for turn in quad(number, self._seed, self._coin):
            idle = self._sides["b" if turn.side == "a" else "a"]
            before_s = idle.cpu_s()
            trial = self._sides[turn.side].trial(turn.seed, self._num_requests)
            self._idle_s += idle.cpu_s() - before_s
            self._measured_s += trial.duration_s
            self._trials[turn.side][turn.pair] = trial
        for pair in range(PAIRS_A_QUAD * number, PAIRS_A_QUAD * (number + 1)):
            one, other = self._trials["a"][pair], self._trials["b"][pair]
            if one.fingerprint != other.fingerprint:
                raise ConfigError(
                    "b",
                    other.fingerprint[:12],
                    f"the requests that A was sent ({one.fingerprint[:12]}): the sides differ in "
                    "their workload, its options or the model's vocabulary",
                )

    def values(self, questions: Sequence[Question]) -> dict[str, tuple[Floats, Floats]]:
        """By name of a quantity, A's and B's values, [quads, 2]."""
        names = [one.quantity.name for one in questions]
        return {name: (self._of("a", name), self._of("b", name)) for name in names}

    def _of(self, side: str, name: str) -> Floats:
        trials = [self._trials[side][pair] for pair in range(PAIRS_A_QUAD * self.quads)]
        if not all(name in trial.values for trial in trials):
            known = ", ".join(sorted(trials[0].values))
            raise ConfigError("max_regression", name, f"what a trial measures, above 0: {known}")
        found = [trial.values[name] for trial in trials]
        return np.array(found).reshape(-1, PAIRS_A_QUAD)

    def outcome(self, answers: tuple[Answer, ...], stopped: str) -> Outcome:
        share = self._idle_s / self._measured_s
        if share > MOST_IDLE_SHARE:
            raise InvalidRun(
                f"the side that waits used {share:.0%} of a processor while the other was measured"
            )
        a, b = (
            tuple(self._trials[side][pair] for pair in range(PAIRS_A_QUAD * self.quads))
            for side in ("a", "b")
        )
        who = [self._sides[side].prepared for side in ("a", "b")]
        return Outcome(
            labels=(who[0].label, who[1].label),
            versions=(who[0].version, who[1].version),
            configs=(who[0].config, who[1].config),
            answers=answers,
            pairs=len(a),
            num_requests=self._num_requests,
            fingerprints=tuple(trial.fingerprint for trial in a),
            coin=self._coin,
            a=a,
            b=b,
            stopped=stopped,
            idle_share=share,
        )
