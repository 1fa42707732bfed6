"""An executor with no model: time passes, and every token is known beforehand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ...engines.clock import VirtualClock
from ...engines.executors.base import StepResult
from ...engines.kv.base import KVPlacement, Move
from ...engines.kv.contiguous import ContiguousKVCache
from ...engines.kv.paged import PagedKVCache
from ...engines.state import RequestState
from ...engines.step import StepPlan

# Blocks in position order, or the first slot and the length of a run.
Where = tuple[tuple[int, ...], tuple[int, int] | None]


def where(kv: KVPlacement, request: RequestState) -> Where:
    """Where a sequence's keys and values lie."""
    if isinstance(kv, PagedKVCache):
        return kv.block_table(request), None
    if isinstance(kv, ContiguousKVCache):
        run = kv.run_of(request)
        return (), None if run is None else (run.start, run.length)
    raise TypeError(f"a {type(kv).__name__} has no blocks and no runs")


@dataclass
class FixedTokenExecutor:
    """Samples, for each sequence, the number of its choice: samples of one request differ, so the
    prefix cache does not take one for the other.

    step_s, prompt_step_s: seconds a step takes, and one that computes prompts.
    places: where the sequences of the latest step lay while it was computed; those that end in it
    have given that back when the step returns. copied: units that were copied before it.
    """

    clock: VirtualClock
    step_s: float
    prompt_step_s: float
    places: dict[str, Where] = field(default_factory=dict)
    copied: int = 0

    def execute(self, plan: StepPlan, kv: KVPlacement, moves: Sequence[Move]) -> StepResult:
        self.places = {chunk.request.request_id: where(kv, chunk.request) for chunk in plan.chunks}
        self.copied = sum(move.length for move in moves if move.kind == "copy")
        self.clock.advance(self.prompt_step_s if plan.prefills else self.step_s)
        return StepResult(
            [
                chunk.request.choice + sample
                for chunk in plan.chunks
                if chunk.reaches_tail
                for sample in range(chunk.request.samples)
            ]
        )

    def forget(self) -> None:
        """Before a step: it may come to nothing to execute."""
        self.places, self.copied = {}, 0
