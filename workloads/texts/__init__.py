"""Prompts that are read: from text, ShareGPT JSON, JSON lines, or a dataset. One file a form."""

from __future__ import annotations

from ..spec import DatasetPrompts, JsonlPrompts, ShareGPTPrompts, TextPrompts
from .conversation import Conversation
from .dataset import read_dataset
from .jsonl import read_jsonl
from .lines import read_text
from .sharegpt import read_sharegpt

TextSource = TextPrompts | ShareGPTPrompts | JsonlPrompts | DatasetPrompts


def read_conversations(prompts: TextSource) -> list[Conversation]:
    """Everything there is to say, at least one conversation. Raises WorkloadError."""
    match prompts:
        case TextPrompts():
            return read_text(prompts)
        case ShareGPTPrompts():
            return read_sharegpt(prompts)
        case JsonlPrompts():
            return read_jsonl(prompts)
        case DatasetPrompts():
            return read_dataset(prompts)
