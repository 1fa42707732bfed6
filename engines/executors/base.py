"""What computes a step: a real model on a device, or a model of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ..api import TokenLogprobs
from ..kv.base import KVPlacement, Move
from ..step import StepPlan
from ..trace import PhaseTimes


@dataclass(frozen=True, slots=True)
class StepResult:
    """Sampled tokens, in plan order: for each chunk that reaches its sequence's tail, one for each
    sample the sequence still stands for. Below 0: its logits have no distribution to choose from.

    times: the parts of the step that the executor knows. logprobs: of each of these tokens, None
    where its request asked for none; empty where the executor knows none. device_s: the time by the
    device's own clock; 0 where it has none. replayed: it was launched at once, as a captured graph.
    """

    token_ids: Sequence[int]
    times: PhaseTimes = field(default_factory=PhaseTimes)
    logprobs: Sequence[TokenLogprobs | None] = ()
    device_s: float = 0.0
    replayed: bool = False


class Executor(Protocol):
    """Computes what the policies planned."""

    def execute(self, plan: StepPlan, kv: KVPlacement, moves: Sequence[Move]) -> StepResult:
        """kv: where the plan's tokens lie (`kv.layout`). moves: to be made first, in order."""
        ...


class Pending(Protocol):
    """A step that was submitted."""

    def result(self) -> StepResult:
        """Wait for it. Raises what the step raised."""
        ...


class PipelinedExecutor(Executor, Protocol):
    """Computes a step while its caller plans the next one.

    Steps are carried out in the order in which they are submitted, their moves included: what a
    step reads or writes may be given to another request at once, for a later step.
    """

    def submit(self, plan: StepPlan, kv: KVPlacement, moves: Sequence[Move]) -> Pending:
        """As `Executor.execute`, without its result. Reads all it needs of `plan` and `kv` before
        it returns, for both change afterwards.

        A request may know its newest token without its value (`RequestState.awaited_row`): that is
        the row's sample of the step submitted before, which need not be done.
        """
        ...

    def why_synchronous(self, plan: StepPlan) -> str:
        """Why the step after this one cannot be submitted before this one's result was read;
        empty where it can."""
        ...
