"""One step, as the policies plan it: which tokens of which requests one forward pass computes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from .errors import ConfigError
from .state import RequestState


class Verdict(Enum):
    """Whether sequences that were swapped out may come back."""

    NOW = "now"
    LATER = "later"
    NEVER = "never"


class Chunk(NamedTuple):
    """Tokens [start, start + length) of one sequence; a decode is one token at the tail."""

    request: RequestState
    start: int
    length: int

    @property
    def end(self) -> int:
        return self.start + self.length

    @property
    def reaches_tail(self) -> bool:
        """Whether the step computes the newest known token, so that a next one is sampled."""
        return self.start + self.length == self.request.known_tokens


def decodes_of(requests: Iterable[RequestState]) -> list[Chunk]:
    """The newest token of each sequence; its others are computed."""
    new = tuple.__new__  # half the time of Chunk(…), a few hundred times a step
    return [new(Chunk, (request, request.computed_tokens, 1)) for request in requests]


class Refusal(NamedTuple):
    """A request that can never be served, and why."""

    request: RequestState
    reason: str


@dataclass(frozen=True)
class StepPlan:
    """What one forward pass computes. In the packed input, prefills precede decodes.

    preempted: lost their place and their keys and values. swapped_out: lost their place, their keys
    and values went to the host. swapped_in: came back from there.
    """

    prefills: tuple[Chunk, ...] = ()
    decodes: tuple[Chunk, ...] = ()
    preempted: tuple[RequestState, ...] = ()
    swapped_out: tuple[RequestState, ...] = ()
    swapped_in: tuple[RequestState, ...] = ()
    refused: tuple[Refusal, ...] = ()

    @property
    def chunks(self) -> tuple[Chunk, ...]:
        return self.prefills + self.decodes

    @property
    def tokens(self) -> int:
        return sum(chunk.length for chunk in self.prefills) + len(self.decodes)

    @property
    def is_empty(self) -> bool:
        """Nothing computed, moved or refused: with requests alive, a loop without end."""
        return not (
            self.prefills
            or self.decodes
            or self.preempted
            or self.swapped_out
            or self.swapped_in
            or self.refused
        )


@dataclass(frozen=True)
class Limits:
    """The budgets of one step.

    max_num_seqs: sequences that may run at a time. max_num_batched_tokens: tokens a step may
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
    seats: int

    @classmethod
    def of(cls, limits: Limits, seats_taken: int) -> Budget:
        return cls(limits.max_num_batched_tokens, limits.max_num_seqs - seats_taken)

    def has(self, tokens: int, seats: int) -> bool:
        return tokens <= self.tokens and seats <= self.seats

    def take(self, tokens: int, seats: int = 0) -> None:
        self.tokens -= tokens
        self.seats -= seats
