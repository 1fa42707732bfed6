"""From what a client sends to token ids: texts, ids, and conversations through a chat template."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...engines.models.tokenizer import LONG_TEXT, Tokenizer
from ...workloads.api import Message
from ..run.chat_template import ChatTemplateError, Render
from .bodies import ChatMessage
from .errors import bad_request

# Twice those of the longest tokens that vocabularies have, which are runs of blanks. A text with
# more for each token of the context is refused before it is tokenised, which would take seconds.
MOST_CHARACTERS_OF_TOKEN = 256


@dataclass(frozen=True)
class Prompts:
    """The model's side of the work. render: its chat template, if it has one."""

    tokenizer: Tokenizer
    vocab_size: int
    render: Render | None = None

    async def of_completion(self, prompt: Any, max_model_len: int) -> list[tuple[int, ...]]:
        """prompt: text, texts, token ids, or lists of them. max_model_len: tokens of the context.
        Raises ApiError for `prompt`."""
        if isinstance(prompt, str):
            return await self.of_completion([prompt], max_model_len)
        if not isinstance(prompt, list) or not prompt:
            raise bad_request("prompt", "must be a text, token ids, or a list of either")
        kinds = set(map(type, prompt))
        if kinds == {str}:
            _check_length("prompt", max(prompt, key=len), max_model_len)
            return [await self._tokens(one) for one in prompt]
        if kinds == {int}:
            return [self._checked(prompt)]
        if kinds == {list}:
            return [self._checked(one) for one in prompt]
        raise bad_request("prompt", "must not mix texts, token ids and lists of them")

    async def of_chat(self, messages: Sequence[ChatMessage], max_model_len: int) -> tuple[int, ...]:
        """max_model_len: tokens of the context. Raises ApiError for `messages`: no template, or one
        that refuses them."""
        if self.render is None:
            raise bad_request(
                "messages", "this model has no chat template; send a prompt to /v1/completions"
            )
        try:
            text = self.render([Message(one.role, one.text, one.name or "") for one in messages])
        except ChatTemplateError as error:
            raise bad_request("messages", f"the chat template refuses them: {error}") from error
        _check_length("messages", text, max_model_len)
        # The template writes the special tokens itself.
        return await self._tokens(text, add_special_tokens=False)

    async def _tokens(self, text: str, *, add_special_tokens: bool = True) -> tuple[int, ...]:
        def encode() -> list[int]:
            return self.tokenizer.encode(text, add_special_tokens=add_special_tokens)

        # A long one beside the event loop, which would otherwise hold up every stream.
        token_ids = encode() if len(text) < LONG_TEXT else await asyncio.to_thread(encode)
        return self._checked(token_ids)

    def _checked(self, token_ids: Sequence[Any]) -> tuple[int, ...]:
        if not token_ids:
            raise bad_request("prompt", "is empty: at least one token")
        self.check_ids("prompt", token_ids)
        return tuple(token_ids)

    def check_ids(self, field: str, token_ids: Sequence[Any]) -> None:
        """Raises ApiError for `field`. token_ids: at least one."""
        if set(map(type, token_ids)) != {int}:
            raise bad_request(field, "token ids must be whole numbers")
        low, high = min(token_ids), max(token_ids)
        if low < 0 or high >= self.vocab_size:
            wrong = low if low < 0 else high
            raise bad_request(field, f"{wrong} is not a token id: 0 to {self.vocab_size - 1}")


def _check_length(field: str, text: str, max_model_len: int) -> None:
    if len(text) > max_model_len * MOST_CHARACTERS_OF_TOKEN:
        raise bad_request(
            field,
            f"{len(text)} characters are far more than the {max_model_len} tokens that this server "
            "holds of one request",
            "context_length_exceeded",
        )
