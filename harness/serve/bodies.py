"""The bodies of `/v1/completions` and `/v1/chat/completions`, checked.

Fields as in OpenAI's API reference, with vLLM's for benchmarks: `ignore_eos`, `min_tokens`,
`top_k`, `min_p`, `stop_token_ids`, `return_token_ids`, `cache_salt`, `continuous_usage_stats`. A
field that this server does not know is refused: one that is silently left out would make two
servers look comparable.
"""

from __future__ import annotations

import secrets
from abc import abstractmethod
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from ...engines.api import SamplingParams
from ...engines.errors import ConfigError
from .errors import ApiError, bad_request, of_config

# OpenAI's default for /v1/completions.
DEFAULT_MAX_TOKENS = 16
MOST_LOGPROBS = 20
MOST_SAMPLES = 128
_UNKNOWN = "extra_forbidden"

Logprobs = Annotated[int, Field(ge=0, le=MOST_LOGPROBS)]


class _Part(BaseModel):
    # No number is made of a text: "16" is a mistake of the client.
    model_config = ConfigDict(extra="forbid", strict=True)


class StreamOptions(_Part):
    """include_usage: counts in a last event. continuous_usage_stats: counts in every event."""

    include_usage: bool | None = None
    continuous_usage_stats: bool | None = None
    include_obfuscation: Literal[False] | None = None


class TextFormat(_Part):
    """The only form of a reply that is served."""

    type: Literal["text"]


class Body(_Part):
    """What both kinds of request share; null is as good as absent."""

    model: str | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    min_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    n: Annotated[int, Field(ge=1, le=MOST_SAMPLES)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stop: str | list[str] | None = None
    stop_token_ids: list[int] | None = None
    ignore_eos: bool | None = None
    priority: int | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    return_token_ids: bool | None = None
    cache_salt: Annotated[str, Field(min_length=1)] | None = None
    # They change nothing of the reply; clients send them by habit.
    user: str | None = None
    metadata: dict[str, Any] | None = None
    store: bool | None = None
    service_tier: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    logit_bias: Annotated[dict[str, Any], Field(max_length=0)] | None = None

    @property
    def limit(self) -> int | None:
        """Output tokens asked for; None where the body does not say."""
        return self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens

    @property
    def limit_field(self) -> str:
        """Where it says so."""
        return "max_tokens" if self.max_completion_tokens is None else "max_completion_tokens"

    @property
    @abstractmethod
    def logprobs_asked(self) -> int | None:
        """How many likeliest tokens are asked for beside each; None for no log-probabilities."""


class CompletionBody(Body):
    """prompt: text, texts, the token ids of one prompt, or of several."""

    prompt: Any
    logprobs: Logprobs | None = None
    echo: Literal[False] | None = None
    best_of: int | None = None
    suffix: Literal[""] | None = None

    @property
    def logprobs_asked(self) -> int | None:
        return self.logprobs


class TextPart(_Part):
    type: Literal["text"]
    text: str

    @field_validator("type", mode="before")
    @classmethod
    def _is_text(cls, kind: object) -> object:
        if kind != "text":
            told = {"kind": repr(kind)}
            raise PydanticCustomError("not_text", "only text is served, no part of {kind}", told)
        return kind


def _form(content: object) -> str:
    """What a message's content is meant as, so that an error is of that. No name of a field."""
    if content is None:
        return "(null)"
    return "(parts)" if isinstance(content, list) else "(text)"


Content = Annotated[
    Annotated[str, Tag("(text)")]
    | Annotated[list[TextPart], Tag("(parts)")]
    | Annotated[None, Tag("(null)")],
    Discriminator(_form),
]


class ChatMessage(_Part):
    """content: null in what an assistant said with no words, as OpenAI and vLLM have it."""

    role: str
    content: Content
    name: str | None = None

    @model_validator(mode="after")
    def _says_something(self) -> ChatMessage:
        if self.content is None and self.role != "assistant":
            raise PydanticCustomError("no_text", "content is null in a message of no assistant's")
        return self

    @property
    def text(self) -> str:
        if isinstance(self.content, list):
            return "".join(part.text for part in self.content)
        return self.content or ""


class ChatBody(Body):
    """messages: the conversation, which the model's chat template turns into a prompt."""

    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    logprobs: bool | None = None
    top_logprobs: Logprobs | None = None
    # What any reply is, and none; clients send them by habit.
    response_format: TextFormat | None = None
    tools: Annotated[list[Any], Field(max_length=0)] | None = None

    @property
    def logprobs_asked(self) -> int | None:
        return (self.top_logprobs or 0) if self.logprobs else None


AnyBody = TypeVar("AnyBody", bound=Body)


def parse(kind: type[AnyBody], data: bytes) -> AnyBody:
    """The body, or an ApiError that names the first field that is wrong."""
    try:
        body = kind.model_validate_json(data)
    except ValidationError as error:
        raise _of_validation(error) from error
    _check_together(body)
    return body


def _check_together(body: Body) -> None:
    """Fields that would be left out beside what the others say."""
    if body.stream_options is not None and not body.stream:
        raise bad_request("stream_options", "only with stream: true")
    if None not in (body.max_tokens, body.max_completion_tokens) and body.limit != body.max_tokens:
        raise bad_request("max_completion_tokens", "must equal max_tokens where both are given")
    if isinstance(body, CompletionBody) and body.best_of not in (None, body.n or 1):
        raise bad_request("best_of", "must equal n: this server returns all that it samples")
    if isinstance(body, ChatBody) and body.top_logprobs and not body.logprobs:
        raise bad_request("top_logprobs", "only with logprobs: true")


def sampling_of(body: Body, max_tokens: int) -> SamplingParams:
    """How the engine is to choose tokens. max_tokens: of the body, or what is left of the context.

    Unsaid, the temperature is 1, as OpenAI has it, and the seed a fresh one. Raises ApiError.
    """
    _check_min_tokens(body, max_tokens)
    temperature = 1.0 if body.temperature is None else body.temperature
    stop = (body.stop,) if isinstance(body.stop, str) else tuple(body.stop or ())
    if "" in stop:
        raise bad_request("stop", "a text is empty, which every reply would end before")
    seed = body.seed
    if seed is None:
        seed = secrets.randbits(48) if temperature else 0
    try:
        return SamplingParams(
            max_tokens=max_tokens,
            temperature=temperature,
            # vLLM writes -1 for all.
            top_k=0 if body.top_k in (None, -1) else body.top_k,
            top_p=1.0 if body.top_p is None else body.top_p,
            min_p=body.min_p or 0.0,
            repetition_penalty=1.0 if body.repetition_penalty is None else body.repetition_penalty,
            presence_penalty=body.presence_penalty or 0.0,
            frequency_penalty=body.frequency_penalty or 0.0,
            n=body.n or 1,
            seed=seed,
            logprobs=body.logprobs_asked,
            ignore_eos=bool(body.ignore_eos),
            stop_token_ids=tuple(body.stop_token_ids or ()),
            stop=stop,
        )
    except ConfigError as error:
        raise of_config(error) from error


def _check_min_tokens(body: Body, max_tokens: int) -> None:
    """The engine has no such rule; where nothing but the length ends a reply, it holds anyway."""
    asked = body.min_tokens or 0
    if asked < 0 or asked > max_tokens:
        raise bad_request("min_tokens", f"{asked} is not between 0 and max_tokens ({max_tokens})")
    may_stop = not body.ignore_eos or body.stop or body.stop_token_ids
    if asked and may_stop:
        raise bad_request("min_tokens", "only with ignore_eos and without stop")


def _of_validation(error: ValidationError) -> ApiError:
    first = error.errors(include_url=False, include_context=False)[0]
    # A union says which of its kinds was tried; a client knows fields and places only.
    *outer, last = first["loc"] or ("",)
    names = [part for part in outer if isinstance(part, int) or part.isidentifier()] + [last]
    if first["type"] == _UNKNOWN:
        # By whatever name: nobody but the client gave it.
        return bad_request(".".join(map(str, names)), "this server has no such field")
    field = str(names[0]) or None
    if first["type"] == "json_invalid":
        return bad_request(None, f"the body is not JSON: {first['msg']}")
    return bad_request(field, first["msg"])
