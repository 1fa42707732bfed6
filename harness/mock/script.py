"""What the mock server does with one request: the truth that a client is held against."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Counting(StrEnum):
    """How a server says how many tokens it has produced."""

    CONTINUOUS = "continuous"  # `usage` in every chunk: vLLM's `continuous_usage_stats`
    TIMINGS = "timings"  # `timings` in every chunk: llama.cpp's `timings_per_token`
    TOKEN_IDS = "token_ids"  # the ids themselves: vLLM's `return_token_ids`
    FINAL = "final"  # `usage` once, at the end
    NONE = "none"


class Ending(StrEnum):
    """What follows the last chunk."""

    DONE = "done"  # usage if it is to be told, and [DONE]
    NO_DONE = "no_done"  # the body ends, without [DONE]
    CLOSE = "close"  # the connection is closed in the middle of the body
    HANG = "hang"  # nothing, and the connection stays open
    COMMENTS = "comments"  # those that keep a connection alive, for ever


@dataclass(frozen=True, slots=True)
class Chunk:
    """One event of a stream.

    gap_s: after the event before it, or after the headers; 0: in one write with what is before it.
    tokens: how many it stands for. text: None: one word a token. raw: bytes to send instead of an
    event.
    """

    gap_s: float
    tokens: int = 1
    text: str | None = None
    raw: bytes | None = None


@dataclass(frozen=True, slots=True)
class Plain:
    """An answer that is no stream. raw: these bytes are the whole of it, head included."""

    status: int = 200
    content_type: str = "application/json"
    body: bytes = b""
    raw: bytes | None = None


@dataclass(frozen=True, slots=True)
class Script:
    """All that happens after a request has come.

    headers_after_s: until the head of the response; None: never. plain: instead of a stream.
    prompt_tokens: as it will say; None: as many as there are. completion_error: added to the count
    of completion tokens it says. error_event: a failure told inside the stream, after the chunks.
    finish_reason: told with the last chunk.
    """

    chunks: tuple[Chunk, ...] = ()
    headers_after_s: float | None = 0.0
    plain: Plain | None = None
    counting: Counting = Counting.CONTINUOUS
    ending: Ending = Ending.DONE
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    completion_error: int = 0
    error_event: str = ""
    finish_reason: str = "length"

    @property
    def tokens(self) -> int:
        return sum(chunk.tokens for chunk in self.chunks)
