"""The trials of both sides so far: quads that count, and quads that were dropped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic

import numpy as np

from ...engines.errors import ConfigError
from ..errors import InvalidRun
from ..stats.signed_rank import Floats
from .judge import Question
from .limit import TrialLimit
from .protocol import Trial
from .side import InvalidTrial, Side
from .turns import PAIRS_A_QUAD, SideName, Turn, quad

# Of a processor, while the other side is measured; a worker's threads may spin a moment longer.
MOST_IDLE_SHARE = 0.1
_MOST_DROPPED = 2
_KEPT_A_DROPPED = 10


@dataclass(frozen=True)
class LeftOut:
    """A trial that counts for nothing, because another one of its quad was not valid or never
    came."""

    side: SideName
    pair: int
    trial: Trial


@dataclass(frozen=True)
class Dropped:
    """A quad that counts for nothing. quad: its number, from 0, of all that began. why: what was
    wrong with one of its trials."""

    quad: int
    why: str


class Trials:
    """Takes quads. A quad of which one trial is not valid is dropped whole, whatever the others
    measured: what is kept is still decided by the coin alone. questions: what each trial must have
    an answer to."""

    def __init__(
        self,
        a: Side,
        b: Side,
        questions: Sequence[Question],
        num_requests: int,
        seed: int,
        coin: int,
        limit: TrialLimit,
    ) -> None:
        self.coin = coin
        self._names = [one.quantity.name for one in questions]
        self.num_requests = num_requests
        self.dropped: list[Dropped] = []
        self._sides: dict[SideName, Side] = {"a": a, "b": b}
        self._seed, self._limit = seed, limit
        self._kept: list[dict[SideName, tuple[Trial, ...]]] = []
        self._left_out: list[LeftOut] = []
        # Of the quad that is being measured.
        self._taken: list[LeftOut] = []
        self._idle_s = self._measured_s = 0.0

    @property
    def quads(self) -> int:
        """That count."""
        return len(self._kept)

    @property
    def idle_share(self) -> float:
        """Of a processor, that the side that waited used."""
        return self._idle_s / self._measured_s if self._measured_s else 0.0

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        return (*self._left_out, *self._taken)

    def of(self, side: SideName) -> tuple[Trial, ...]:
        """A side's, in order of pairs that count."""
        return tuple(trial for kept in self._kept for trial in kept[side])

    def take(self) -> bool:
        """The next quad; whether it counts. Raises ConfigError where the sides were not sent the
        same requests or do not measure what is asked, and InvalidRun for a value that has no ratio,
        a side that is lost or too many quads that do not count."""
        try:
            for turn in quad(self.quads + len(self.dropped), self._seed, self.coin):
                self._taken.append(LeftOut(turn.side, turn.pair, self._measured(turn)))
                self._check_values(self._taken[-1])
        except InvalidTrial as error:
            self._drop(str(error))
            return False
        by_pair = sorted(self._taken, key=lambda one: one.pair)
        sides: dict[SideName, tuple[Trial, ...]] = {
            side: tuple(one.trial for one in by_pair if one.side == side) for side in self._sides
        }
        _check_same_requests(sides["a"], sides["b"])
        self._kept.append(sides)
        self._taken = []
        return True

    def values(self) -> dict[str, tuple[Floats, Floats]]:
        """By name of a quantity that is asked for, A's and B's values, [quads, 2]."""
        return {
            name: (_values(self.of("a"), name), _values(self.of("b"), name)) for name in self._names
        }

    def _check_values(self, taken: LeftOut) -> None:
        """Of nothing there is no ratio, and the worst that a side can do is no goodput at all."""
        values = taken.trial.values
        for name in self._names:
            if name not in values:
                known = ", ".join(sorted(values))
                raise ConfigError("max_regression", name, f"what a trial measures: {known}")
            if values[name] <= 0:
                raise InvalidRun(
                    f"{taken.side}: {name} of a trial of {self.num_requests} requests is "
                    f"{values[name]:g}, and the comparison is of ratios: judge another metric, or "
                    "longer trials"
                )

    def _measured(self, turn: Turn) -> Trial:
        idle = self._sides["b" if turn.side == "a" else "a"]
        before_s, began_s = idle.cpu_s(), monotonic()
        limit_s = self._limit.of(self.num_requests)
        trial = self._sides[turn.side].trial(turn.seed, self.num_requests, limit_s)
        self._limit.note(self.num_requests, monotonic() - began_s)
        self._idle_s += idle.cpu_s() - before_s
        self._measured_s += trial.duration_s
        return trial

    def _drop(self, why: str) -> None:
        self.dropped.append(Dropped(self.quads + len(self.dropped), why))
        self._left_out += self._taken
        self._taken = []
        if len(self.dropped) > _MOST_DROPPED + self.quads // _KEPT_A_DROPPED:
            raise InvalidRun(
                f"{len(self.dropped)} quads of trials had to be dropped, of "
                f"{self.quads + len(self.dropped)}: {why}"
            )


def _check_same_requests(a: Sequence[Trial], b: Sequence[Trial]) -> None:
    for one, other in zip(a, b, strict=True):
        if one.fingerprint != other.fingerprint:
            raise ConfigError(
                "b",
                other.fingerprint[:12],
                f"the requests that A was sent ({one.fingerprint[:12]}): the sides differ in "
                "their workload, its options or the model's vocabulary",
            )


def _values(trials: Sequence[Trial], name: str) -> Floats:
    return np.array([trial.values[name] for trial in trials]).reshape(-1, PAIRS_A_QUAD)
