"""How a model reads the texts and chats of a workload: its own tokenizer and chat template."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from ...engines.errors import ModelError
from ...engines.models.tokenizer import Tokenizer
from ...workloads.api import Message, TextEncoder
from .chat_template import ChatTemplateError, Render, has_chat_template, load_chat_template


def text_encoder(tokenizer: Tokenizer, directory: Path) -> TextEncoder:
    """What a workload needs of a model's tokenizer. directory: the model's, for its template."""
    chats = has_chat_template(directory)
    return TextEncoder(
        encode=lambda text: tokenizer.encode(text, add_special_tokens=False),
        decode=tokenizer.decode,
        vocab_size=tokenizer.vocab_size,
        prefix_ids=tokenizer.prefix_ids,
        special_ids=tokenizer.special_ids,
        encode_chat=_chat_encoder(tokenizer, directory) if chats else None,
    )


def _chat_encoder(
    tokenizer: Tokenizer, directory: Path
) -> Callable[[Sequence[Message]], list[int]]:
    # Only a chat pays for loading it.
    @cache
    def template() -> Render:
        return load_chat_template(directory)

    def encode(messages: Sequence[Message]) -> list[int]:
        try:
            text = template()(messages)
        except ChatTemplateError as error:
            problem = f"has a chat template that refuses a chat ({error})"
            raise ModelError("model", str(directory), problem) from error
        # The template writes the special tokens itself.
        return tokenizer.encode(text, add_special_tokens=False)

    return encode
