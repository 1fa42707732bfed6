"""All that the outside needs of an engine: requests go in, token events come out.

Times are seconds on the engine's own clock (`clock.py`), so the same code is driven by a wall
clock or a virtual one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Protocol

from .errors import ConfigError
from .trace import StepTrace

# Below it a division overflows float32 before the choice is anything but greedy.
LEAST_TEMPERATURE = 0.01


@dataclass(frozen=True)
class SamplingParams:
    """How tokens are chosen. The default is greedy: a comparison of engines must repeat.

    max_tokens: output tokens at most, at least 1.
    n: samples of one prompt; they share its computation and, where the KV layout allows it, its
    memory.
    temperature: 0 is greedy; else logits are divided by it.
    top_k: keep the k likeliest (0: all). top_p: keep the smallest set of this probability mass.
    seed: the request's own random stream; the same tokens whatever else shares the batch.
    ignore_eos: go on to max_tokens, as a benchmark of fixed lengths must.
    stop_token_ids: end at any of these too; the stop token is part of the output.
    """

    max_tokens: int = 16
    n: int = 1
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0
    ignore_eos: bool = False
    stop_token_ids: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.max_tokens < 1:
            raise ConfigError("max_tokens", self.max_tokens, "at least 1")
        if self.n < 1:
            raise ConfigError("n", self.n, "at least 1")
        if self.temperature != 0 and not self.temperature >= LEAST_TEMPERATURE:
            raise ConfigError("temperature", self.temperature, "0 (greedy), or 0.01 and more")
        if self.top_k < 0:
            raise ConfigError("top_k", self.top_k, "0 (all) or more")
        if not 0 < self.top_p <= 1:
            raise ConfigError("top_p", self.top_p, "more than 0 and at most 1")


@dataclass(frozen=True)
class Request:
    """One prompt to continue.

    request_id: unique among the requests an engine holds.
    arrival_s: when it came, on the engine's clock; orders the waiting queue.
    priority: lower goes first and makes room last, as in vLLM; equal ones as they came.
    """

    request_id: str
    prompt_token_ids: Sequence[int]
    sampling: SamplingParams
    arrival_s: float = 0.0
    priority: int = 0


class FinishReason(StrEnum):
    """Why a request ended."""

    STOP = "stop"  # the model said so: end-of-text or a stop token
    LENGTH = "length"  # max_tokens reached
    REFUSED = "refused"  # can never be served with this engine's limits
    ERROR = "error"  # the step that computed it failed


class TokenEvent(NamedTuple):
    """One token of one sample of a request, or the end of a refused or failed one without one.

    token_id is None exactly when the event carries no token; `detail` says why a request was
    refused or failed. Each of a request's `n` samples has one event with a `finish`.
    """

    request_id: str
    token_id: int | None
    time_s: float
    finish: FinishReason | None = None
    detail: str = ""
    choice: int = 0


@dataclass(frozen=True)
class StepOutcome:
    """What one engine step produced; `trace` is None when there was nothing to compute."""

    events: tuple[TokenEvent, ...]
    trace: StepTrace | None


class Engine(Protocol):
    """Anything that serves requests step by step in this process."""

    def add(self, request: Request) -> None:
        """Queue a request. Raises ConfigError for an id already held, an empty prompt, and one
        that with its output is longer than the engine serves."""
        ...

    def abort(self, request_id: str) -> None:
        """Take a request back; its memory is free at once, and no event follows. Unknown ids
        are ignored."""
        ...

    def step(self) -> StepOutcome:
        """Compute one step and report its tokens."""
        ...

    def has_work(self) -> bool:
        """Whether any request waits or runs."""
        ...


def as_token_ids(token_ids: Sequence[int]) -> tuple[int, ...]:
    """A prompt as the engine keeps it."""
    return tuple(int(token) for token in token_ids)
