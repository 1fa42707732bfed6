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


@dataclass(frozen=True)
class Prompts:
    """The model's side of the work. render: its chat template, if it has one."""

    tokenizer: Tokenizer
    vocab_size: int
    render: Render | None = None

    async def of_completion(self, prompt: Any) -> list[tuple[int, ...]]:
        """prompt: text, texts, token ids, or lists of them. Raises ApiError for `prompt`."""
        if isinstance(prompt, str):
            return [await self._tokens(prompt)]
        if not isinstance(prompt, list) or not prompt:
            raise bad_request("prompt", "must be a text, token ids, or a list of either")
        kinds = set(map(type, prompt))
        if kinds == {str}:
            return [await self._tokens(one) for one in prompt]
        if kinds == {int}:
            return [self._checked(prompt)]
        if kinds == {list}:
            return [self._checked(one) for one in prompt]
        raise bad_request("prompt", "must not mix texts, token ids and lists of them")

    async def of_chat(self, messages: Sequence[ChatMessage]) -> tuple[int, ...]:
        """Raises ApiError for `messages`: no template, or one that refuses them."""
        if self.render is None:
            raise bad_request(
                "messages", "this model has no chat template; send a prompt to /v1/completions"
            )
        try:
            text = self.render([Message(one.role, one.text, one.name or "") for one in messages])
        except ChatTemplateError as error:
            raise bad_request("messages", f"the chat template refuses them: {error}") from error
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
        if set(map(type, token_ids)) != {int}:
            raise bad_request("prompt", "token ids must be whole numbers")
        low, high = min(token_ids), max(token_ids)
        if low < 0 or high >= self.vocab_size:
            wrong = low if low < 0 else high
            raise bad_request("prompt", f"{wrong} is not a token id: 0 to {self.vocab_size - 1}")
        return tuple(token_ids)
