"""How much of a machine's arithmetic and bandwidth steps used: what `mfu` and `mbu` share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Literal, NamedTuple

from ...engines.cost.floor import Roof, step_bytes, step_flops
from ...engines.cost.work import ModelWork, StepWork
from ...engines.trace import StepTrace
from ..run.step_work import works_of
from .base import Better, Metric

StepKind = Literal["prefill", "decode", "mixed"]
STEP_KINDS: tuple[StepKind, ...] = ("prefill", "decode", "mixed")
# Over the whole run first, then over steps of a kind.
UTILISATION_STATS = ("run", *STEP_KINDS)


class StepDone(NamedTuple):
    """A step that computed something: how long it took, and what had to be computed and moved on
    each device (`engines/cost/floor.py`). kind: prefill or decode if all its chunks are."""

    kind: StepKind
    duration_s: float
    flops: float
    bytes_moved: float


def steps_done(
    steps: Sequence[StepTrace], model: ModelWork, window: int | None = None
) -> list[StepDone]:
    """window: the model's sliding window."""
    works = works_of([step.chunks for step in steps], window)
    return [
        StepDone(
            _kind(work),
            step.end_s - step.start_s,
            sum(step_flops(work, model)),
            step_bytes(work, model),
        )
        for step, work in zip(steps, works, strict=True)
        if work.tokens
    ]


def _kind(work: StepWork) -> StepKind:
    if work.prefill_tokens and work.decode_tokens:
        return "mixed"
    return "prefill" if work.prefill_tokens else "decode"


class Utilisation(Metric):
    """A share of a peak. `run` is over the run's time, idle or not; the others are over the time
    of the steps of a kind, so that long steps count for more."""

    unit: ClassVar[str] = "share"
    better: ClassVar[Better] = "higher"

    @abstractmethod
    def done(self, step: StepDone) -> float:
        """How much of it a step did."""

    @abstractmethod
    def peak_per_s(self, peaks: Roof) -> float:
        """The most that a device does of it in a second."""

    def of(self, steps: Sequence[StepDone], run_s: float, peaks: Roof) -> dict[str, float]:
        """By stat, see `UTILISATION_STATS`; a kind that no step was of is absent."""
        spans = {"run": (steps, run_s)}
        for kind in STEP_KINDS:
            chosen = [step for step in steps if step.kind == kind]
            spans[kind] = (chosen, sum(step.duration_s for step in chosen))
        peak = self.peak_per_s(peaks)
        return {
            name: sum(map(self.done, chosen)) / time_s / peak
            for name, (chosen, time_s) in spans.items()
            if time_s > 0
        }
