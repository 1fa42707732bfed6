"""A whole workload, and what of it must agree."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from .arrivals import Arrivals, ExponentialRamp, LinearRamp, Replay, Stages
from .base import DisagreementError, Part
from .bounds import Requests, Samples
from .lengths import Lengths, TextLengths, TraceLengths
from .prompts import TEXTS, CorpusPrompts, Prompts
from .sessions import Sessions

# Arrivals that end by themselves.
_ENDING = (Replay, LinearRamp, ExponentialRamp, Stages)


class WorkloadSpec(Part):
    """A workload: how many requests, when, how long, of what."""

    name: str = Field(default="custom", min_length=1, description="Shown in results and reports.")
    description: str = Field(default="", description="One line on what this load stands for.")
    source: str = Field(default="", description="Where the numbers come from.")
    num_requests: Requests | None = Field(
        default=None,
        description="Requests to send, all turns of sessions counted. Left out: all rows of a "
        "trace, or all that a ramp or the stages bring.",
    )
    arrivals: Arrivals
    lengths: Lengths
    prompts: Prompts = CorpusPrompts()
    sessions: Sessions | None = Field(
        default=None, description="Left out: every request stands alone."
    )
    samples: Samples = Field(
        default=1, description="Replies asked for each prompt (parallel sampling)."
    )
    fit: Literal["error", "clip"] = Field(
        default="error",
        description="When a request is longer than the model: refuse the run, or clip its input "
        "(and a reply beyond half the model's length) and say so in the result.",
    )
    adjustments: tuple[str, ...] = Field(
        default=(),
        description="What was changed from the workload's own form, in words; kept in results.",
    )

    @model_validator(mode="after")
    def _counted(self) -> Self:
        from_trace = isinstance(self.lengths, TraceLengths) and self.lengths.order == "file"
        if self.num_requests is None and not (isinstance(self.arrivals, _ENDING) or from_trace):
            allowed = "it, as neither a trace nor the arrivals give the number"
            raise DisagreementError("has no num_requests", allowed)
        return self

    @model_validator(mode="after")
    def _agreed(self) -> Self:
        is_text = isinstance(self.prompts, TEXTS)
        if isinstance(self.lengths, TextLengths) and not is_text:
            problem = f"has lengths of kind text for {self.prompts.kind} prompts"
            raise DisagreementError(problem, "lengths of another kind, as such prompts have none")
        if (
            isinstance(self.prompts, TEXTS)
            and self.prompts.chat
            and not isinstance(self.lengths, TextLengths)
        ):
            problem = f"has lengths of kind {self.lengths.kind} for chats"
            raise DisagreementError(problem, "lengths of kind text, as a chat cannot be trimmed")
        if self.sessions is not None:
            if isinstance(self.lengths, TraceLengths):
                allowed = "no sessions, as a trace names its own"
                raise DisagreementError("has sessions beside the lengths of a trace", allowed)
            if self.sessions.turns is None and self.prompts.kind in ("corpus", "random", "text"):
                allowed = "sessions.turns, as the prompts are no conversations"
                raise DisagreementError(f"has no turns for {self.prompts.kind} prompts", allowed)
        return self
