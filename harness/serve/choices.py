"""The choices of a reply while they grow: tokens in, parts of the reply out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from ...engines.api import FinishReason, TokenEvent, TokenLogprobs
from ...engines.stopping import Decode
from .asked import Asked
from .errors import BAD_REQUEST, FAILED, ApiError
from .text import TextStream


class Scored(NamedTuple):
    """A token as its log-probabilities are shown. offset: in the text of its choice, of the
    first character that it is or is a part of."""

    token_id: int
    offset: int
    logprobs: TokenLogprobs


@dataclass(frozen=True, slots=True)
class Part:
    """What one token adds to a reply. first: whether it is the first of its choice."""

    choice: int
    text: str
    token_id: int
    first: bool
    finish: FinishReason | None
    scored: Scored | None


class Choices:
    """Every choice of one HTTP request. Of prompt p its sample s is choice p x samples + s."""

    def __init__(self, asked: Asked, decode: Decode) -> None:
        n = asked.samples
        self._first_choice = {name: place * n for place, name in enumerate(asked.request_ids)}
        self._texts = [TextStream(decode, asked.stop) for _ in range(n * len(asked.requests))]
        self._tokens = [0] * len(self._texts)
        self._open = len(self._texts)

    @property
    def ended(self) -> bool:
        return not self._open

    @property
    def output_tokens(self) -> int:
        return sum(self._tokens)

    def take(self, events: Iterable[TokenEvent]) -> list[Part]:
        """A part a token. Raises ApiError for a request that the engine refused or failed at."""
        return [self._part(event) for event in events]

    def _part(self, event: TokenEvent) -> Part:
        if event.finish is FinishReason.REFUSED:
            raise ApiError(BAD_REQUEST, event.detail, "prompt")
        if event.token_id is None:
            raise ApiError(FAILED, f"the engine failed: {event.detail}")
        choice = self._first_choice[event.request_id] + event.choice
        stream = self._texts[choice]
        offset = stream.length
        text = stream.push(event.token_id)
        if event.finish is not None:
            text += stream.end()
            self._open -= 1
        scored = event.logprobs and Scored(event.token_id, offset, event.logprobs)
        part = Part(
            choice, text, event.token_id, not self._tokens[choice], event.finish, scored or None
        )
        self._tokens[choice] += 1
        return part


@dataclass
class Joined:
    """A whole choice, for a reply that is sent at once."""

    text: str
    token_ids: list[int]
    scored: list[Scored]
    finish: FinishReason | None


def join(parts: Iterable[Part], choices: int) -> list[Joined]:
    """The parts of each choice put together, in order of choice."""
    joined = [Joined("", [], [], None) for _ in range(choices)]
    texts: list[list[str]] = [[] for _ in range(choices)]
    for part in parts:
        whole = joined[part.choice]
        texts[part.choice].append(part.text)
        whole.token_ids.append(part.token_id)
        if part.scored is not None:
            whole.scored.append(part.scored)
        whole.finish = part.finish or whole.finish
    for whole, pieces in zip(joined, texts, strict=True):
        whole.text = "".join(pieces)
    return joined
