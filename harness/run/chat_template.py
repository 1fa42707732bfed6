"""A model's own chat template: a conversation as the text that the model was trained to continue.

Rendered by transformers, which knows how templates are stored and what they may call.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from ...engines.errors import ModelError
from ...workloads.api import Message

Render = Callable[[Sequence[Message]], str]
"""A conversation as text, special tokens and the beginning of the reply included. Raises
ChatTemplateError."""


class ChatTemplateError(ValueError):
    """A template that refuses a conversation; says why."""


def has_chat_template(directory: Path) -> bool:
    """Whether a model's directory brings a template, in a file of its own or in its config. Raises
    ModelError for a config that cannot be read."""
    if (directory / "chat_template.jinja").is_file():
        return True
    config = directory / "tokenizer_config.json"
    if not config.is_file():
        return False
    try:
        return bool(json.loads(config.read_text(encoding="utf-8")).get("chat_template"))
    except (ValueError, AttributeError) as error:
        problem = f"has a tokenizer_config.json that is no JSON object ({error})"
        raise ModelError("model", str(directory), problem) from error


def load_chat_template(directory: Path) -> Render:
    """Of a directory that has one. transformers takes seconds to import, and does so here."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(directory)

    def render(messages: Sequence[Message]) -> str:
        said = [one.as_json for one in messages]
        try:
            text = tokenizer.apply_chat_template(said, tokenize=False, add_generation_prompt=True)
        except Exception as error:  # a template raises what it likes
            raise ChatTemplateError(str(error)) from error
        return str(text)

    return render
