"""All that a step needs, read from its plan before the plan changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from ..api import SamplingParams
from ..kv.base import Move
from ..sampling import Draw
from ..state import RequestState
from ..step import StepPlan
from .base import Pending
from .passes import Pass


@dataclass(frozen=True)
class Work:
    """model_pass: None where the step only moves. draws: a token each, of the row of the pass's
    logits that `draw_rows` says. prepare_s: what it took to read this from the plan."""

    moves: Sequence[Move]
    model_pass: Pass | None = None
    draws: Sequence[Draw] = ()
    draw_rows: Sequence[int] = ()
    prepare_s: float = 0.0

    @property
    def replayed(self) -> bool:
        return self.model_pass is not None and self.model_pass.replayed


class Runner(Protocol):
    """Carries out work in the order in which it comes: moves, the pass, draws."""

    def start(self, work: Work) -> Pending: ...

    def why_waited_for(self, sampling: SamplingParams) -> str:
        """Why a token that is sampled so must be read before the next step starts; or empty."""
        ...


def draws_of(plan: StepPlan) -> tuple[list[Draw], list[int]]:
    """A token for each sample of each sequence whose tail the step reaches, and the row of the
    logits that it is drawn from: samples that are not told apart yet share one."""
    ending = [chunk.request for chunk in plan.chunks if chunk.reaches_tail]
    pairs = [
        (_draw(request, request.choice + sample), row)
        for row, request in enumerate(ending)
        for sample in range(request.samples)
    ]
    return [draw for draw, _ in pairs], [row for _, row in pairs]


def _draw(request: RequestState, choice: int) -> Draw:
    """How the sample's next token is chosen."""
    sampling = request.request.sampling
    if not sampling.has_penalties:
        return Draw(sampling, request.output_tokens, choice)
    prompt = request.request.prompt_token_ids
    # A copy: by the time it is drawn the list may hold the place of the token itself.
    return Draw(sampling, request.output_tokens, choice, prompt, tuple(request.output_ids))
