"""All that the outside needs of an engine: requests go in, token events come out.

Times are seconds on the engine's own clock (`clock.py`), so the same code is driven by a wall
clock or a virtual one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import inf
from numbers import Integral
from typing import NamedTuple, Protocol

from .errors import ConfigError
from .trace import StepTrace

# Below it a division overflows float32 before the choice is anything but greedy.
LEAST_TEMPERATURE = 0.01
# Outside, float32 scores overflow to where no probability is left.
REPETITION_PENALTY = (0.01, 100.0)
# OpenAI's range of its two penalties, and vLLM's.
OPENAI_PENALTY = (-2.0, 2.0)


@dataclass(frozen=True)
class SamplingParams:
    """How tokens are chosen. The default is greedy: a comparison of engines must repeat.

    max_tokens: output tokens at most, at least 1.
    temperature: 0 is greedy; else logits are divided by it.
    top_k: keep the k likeliest, and what is as likely as the k-th (0: all).
    top_p: keep the smallest set of this probability mass (Holtzman et al., ICLR 2020).
    min_p: keep what is at least this share of the likeliest (Nguyen et al., arXiv 2407.01082).
    repetition_penalty: divides a positive logit, multiplies a negative one, of every token in
        prompt or output (CTRL, Keskar et al., arXiv 1909.05858); 1 is none, 0.01 to 100.
    presence_penalty: taken from the logit of every token in the output, once.
    frequency_penalty: taken from it once for each time it stands there. Both as OpenAI's API
        defines them: -2 to 2, the prompt does not count.
    n: samples of the one prompt, each with its own random stream; they share its computation and,
        where the KV layout allows it, its memory.
    seed: the request's own random stream; the same tokens whatever else shares the batch.
    logprobs: report the chosen token's log-probability and those of the k likeliest (None:
        report none). Of the model's own distribution, before penalties and temperature, as in
        OpenAI's API and vLLM v1.
    ignore_eos: go on to max_tokens, as a benchmark of fixed lengths must.
    stop_token_ids: end at any of these too; the stop token is part of the output.
    stop: end when the text contains any of these strings; the text is cut before it.
    """

    max_tokens: int = 16
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    n: int = 1
    seed: int = 0
    logprobs: int | None = None
    ignore_eos: bool = False
    stop_token_ids: tuple[int, ...] = ()
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_whole("max_tokens", self.max_tokens, 1)
        if self.temperature != 0 and not LEAST_TEMPERATURE <= self.temperature < inf:
            raise ConfigError("temperature", self.temperature, "0 (greedy), or 0.01 and more")
        _check_whole("top_k", self.top_k, 0, "0 (all) or more")
        if not 0 < self.top_p <= 1:
            raise ConfigError("top_p", self.top_p, "more than 0 and at most 1")
        _check_range("min_p", self.min_p, (0, 1))
        _check_range("repetition_penalty", self.repetition_penalty, REPETITION_PENALTY)
        _check_range("presence_penalty", self.presence_penalty, OPENAI_PENALTY)
        _check_range("frequency_penalty", self.frequency_penalty, OPENAI_PENALTY)
        _check_whole("n", self.n, 1)
        _check_whole("seed", self.seed)
        if self.logprobs is not None:
            _check_whole("logprobs", self.logprobs, 0, "None, or 0 and more")
        if not isinstance(self.stop, tuple) or not all(
            isinstance(text, str) and text for text in self.stop
        ):
            raise ConfigError("stop", self.stop, "a tuple of strings, none of them empty")

    @property
    def has_penalties(self) -> bool:
        """Whether the choice depends on the tokens before it otherwise than through the model."""
        return (
            self.repetition_penalty != 1
            or self.presence_penalty != 0
            or self.frequency_penalty != 0
        )


def _check_whole(field: str, value: object, least: float = -inf, allowed: str = "") -> None:
    if not isinstance(value, Integral) or isinstance(value, bool) or int(value) < least:
        at_least = "a whole number" if least == -inf else f"at least {least}"
        raise ConfigError(field, value, allowed or at_least)


def _check_range(field: str, value: float, limits: tuple[float, float]) -> None:
    low, high = limits
    if not low <= value <= high:
        raise ConfigError(field, value, f"{low:g} to {high:g}")


@dataclass(frozen=True)
class Request:
    """One prompt to continue.

    request_id: unique among the requests an engine holds.
    arrival_s: when it came, on the engine's clock; a delay factor waits from it. Orders nothing.
    priority: lower goes first and makes room last, as in vLLM; equals go as they were added.
    cache_salt: only requests of the same one share a prefix cache's blocks; None is one, too.
    """

    request_id: str
    prompt_token_ids: Sequence[int]
    sampling: SamplingParams
    arrival_s: float = 0.0
    priority: int = 0
    cache_salt: str | None = None


class FinishReason(StrEnum):
    """Why a request ended."""

    STOP = "stop"  # end-of-text, a stop token or a stop string
    LENGTH = "length"  # max_tokens reached
    REFUSED = "refused"  # can never be served with this engine's limits
    ERROR = "error"  # the step that computed it failed


@dataclass(frozen=True)
class TokenLogprobs:
    """What the model itself thought of a token and its rivals: natural logarithms.

    rank: how many tokens are at least as likely as the chosen one, itself included; 1 is best.
    top: the likeliest tokens and their log-probabilities, likeliest first, equals by id.
    """

    logprob: float
    rank: int
    top: tuple[tuple[int, float], ...] = ()


class TokenEvent(NamedTuple):
    """One token of one sample of a request, or the end of a refused or failed one without one.

    token_id is None exactly when the event carries no token; `detail` says why a request was
    refused or failed. choice: which of the request's samples; each has one event with a `finish`.
    logprobs: where the request asked for them.
    """

    request_id: str
    token_id: int | None
    time_s: float
    finish: FinishReason | None = None
    detail: str = ""
    choice: int = 0
    logprobs: TokenLogprobs | None = None


@dataclass(frozen=True)
class StepOutcome:
    """What one engine step produced. `trace` is None where no request was held, and always of an
    engine that keeps none."""

    events: tuple[TokenEvent, ...]
    trace: StepTrace | None


class Engine(Protocol):
    """Anything that serves requests step by step in this process."""

    def add(self, request: Request) -> None:
        """Queue a request. Raises ConfigError for an id already held, an empty prompt, one that
        with its output is longer than the engine serves, and stop strings where the engine has
        no tokenizer to see them with."""
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
