"""Computes a step without a model: a cost model says how long it would take, and a virtual clock
moves by that much. What is sampled has no meaning; only its count has."""

from __future__ import annotations

from collections.abc import Sequence

from ..clock import VirtualClock
from ..cost.roofline import CostModel
from ..cost.work import StepWork
from ..kv.base import KVPlacement, Move
from ..step import StepPlan
from .base import StepResult

TOKEN = 0  # what every sample is


class SimulatedExecutor:
    """window: the model's sliding window, which bounds what a token attends."""

    def __init__(self, cost: CostModel, clock: VirtualClock, window: int | None = None) -> None:
        self._cost = cost
        self._clock = clock
        self._window = window

    def execute(self, plan: StepPlan, kv: KVPlacement, moves: Sequence[Move]) -> StepResult:
        sampled, work = self._work(plan, _moved_tokens(moves, kv.tokens_per_unit))
        times = self._cost.price(work)
        self._clock.advance(times.total_s)
        return StepResult([TOKEN] * sampled, times)

    def _work(self, plan: StepPlan, moved_tokens: int) -> tuple[int, StepWork]:
        """How many tokens the step samples, and what it must do."""
        window = self._window
        ends = [request.computed_tokens for request, _, _ in plan.decodes]
        if window is None:
            attended = sum(ends) + len(ends)
        else:
            attended = sum([min(end + 1, window) for end in ends])
        ending = [chunk for chunk in plan.prefills if chunk.reaches_tail]
        work = StepWork.of(
            [(start, length) for _, start, length in plan.prefills],
            len(ends),
            attended,
            # A prompt that ends yields one row of logits, however many samples are drawn from it.
            len(ends) + len(ending),
            moved_tokens,
            window,
        )
        return len(ends) + sum(chunk.request.samples for chunk in ending), work


def _moved_tokens(moves: Sequence[Move], tokens_per_unit: int) -> int:
    """Over the host link; a copy within the device is lost in a step's own traffic."""
    return sum(move.length for move in moves if move.kind != "copy") * tokens_per_unit
