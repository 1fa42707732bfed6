"""How a model reads the texts and chats of a workload: its own tokenizer and chat template."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from ..engines.errors import ModelError
from ..engines.models.tokenizer import Tokenizer
from ..workloads.api import Message, TextEncoder


def text_encoder(tokenizer: Tokenizer, directory: Path) -> TextEncoder:
    """What a workload needs of a model's tokenizer. directory: the model's, for its template."""
    return TextEncoder(
        encode=lambda text: tokenizer.encode(text, add_special_tokens=False),
        decode=tokenizer.decode,
        vocab_size=tokenizer.vocab_size,
        prefix_ids=tokenizer.prefix_ids,
        special_ids=tokenizer.special_ids,
        encode_chat=_chat_encoder(directory) if has_chat_template(directory) else None,
    )


def has_chat_template(directory: Path) -> bool:
    """Whether a model's directory brings a template, in a file of its own or in its config."""
    if (directory / "chat_template.jinja").is_file():
        return True
    config = directory / "tokenizer_config.json"
    return config.is_file() and '"chat_template"' in config.read_text(encoding="utf-8")


def _chat_encoder(directory: Path) -> Callable[[Sequence[Message]], list[int]]:
    # transformers takes seconds to import, so only a chat pays for it.
    @cache
    def tokenizer() -> Any:
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(directory)

    def encode(messages: Sequence[Message]) -> list[int]:
        said = [{"role": message.role, "content": message.content} for message in messages]
        try:
            return tokenizer().apply_chat_template(
                said, add_generation_prompt=True, tokenize=True, return_dict=False
            )
        except Exception as error:  # a template raises what it likes
            problem = f"has a chat template that refuses a chat ({error})"
            raise ModelError("model", str(directory), problem) from error

    return encode
