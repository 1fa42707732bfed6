"""One step, as the policies plan it: which tokens of which requests one forward pass computes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from .errors import ConfigError
from .state import RequestState


class Verdict(Enum):
    """Whether a request may start."""

    NOW = "now"
    LATER = "later"
    NEVER = "never"


@dataclass(frozen=True)
class Chunk:
    """Tokens [start, start + length) of one request; a decode is one token at the tail."""

    request: RequestState
    start: int
    length: int

    @property
    def end(self) -> int:
        return self.start + self.length

    @property
    def reaches_tail(self) -> bool:
        """Whether the step computes the newest known token, so that a next one is sampled."""
        return self.end == self.request.known_tokens


@dataclass(frozen=True)
class Refusal:
    """A request that can never be served, and why."""

    request: RequestState
    reason: str


@dataclass(frozen=True)
class StepPlan:
    """What one forward pass computes. In the packed input, prefills precede decodes."""

    prefills: tuple[Chunk, ...] = ()
    decodes: tuple[Chunk, ...] = ()
    preempted: tuple[RequestState, ...] = ()
    refused: tuple[Refusal, ...] = ()

    @property
    def chunks(self) -> tuple[Chunk, ...]:
        return self.prefills + self.decodes

    @property
    def tokens(self) -> int:
        return sum(chunk.length for chunk in self.chunks)


@dataclass(frozen=True)
class Limits:
    """The budgets of one step.

    max_num_seqs: requests that may run at a time. max_num_batched_tokens: tokens a step may
    compute. max_model_len: tokens a request may reach, prompt and output together.
    """

    max_num_seqs: int = 256
    max_num_batched_tokens: int = 2048
    max_model_len: int = 2048

    def __post_init__(self) -> None:
        for field in ("max_num_seqs", "max_num_batched_tokens", "max_model_len"):
            value = getattr(self, field)
            if value < 1:
                raise ConfigError(field, value, "at least 1")
        if self.max_num_batched_tokens < self.max_num_seqs:
            raise ConfigError(
                "max_num_batched_tokens",
                self.max_num_batched_tokens,
                f"at least max_num_seqs ({self.max_num_seqs}), so that every request can decode",
            )


@dataclass
class Budget:
    """What is left of one step's limits while it is being planned."""

    tokens: int
    seqs: int

    @classmethod
    def of(cls, limits: Limits, running: int) -> Budget:
        return cls(tokens=limits.max_num_batched_tokens, seqs=limits.max_num_seqs - running)

    def take(self, tokens: int) -> bool:
        """A place for one more request that computes `tokens`, if there is one."""
        if self.seqs < 1 or tokens > self.tokens:
            return False
        self.seqs -= 1
        self.tokens -= tokens
        return True

    def charge(self, tokens: int) -> None:
        """Tokens of a request that has its place already."""
        self.tokens -= tokens
