"""A text file: a prompt a line, or a paragraph."""

from __future__ import annotations

import re

from ..spec import TextPrompts
from .conversation import Conversation, Turn, collect, read_file


def read_text(prompts: TextPrompts) -> list[Conversation]:
    """Every line or paragraph that is not blank, as it stands but for the white space around it."""
    text = read_file(prompts.path, "a text file")
    # Not splitlines: other separators, such as U+2028 and form feeds, stand within a line.
    parts = text.split("\n") if prompts.split == "lines" else re.split(r"\n[ \t\r]*\n", text)
    said = [part.strip() for part in parts]
    found = [Conversation((Turn(part),)) for part in said if part]
    return collect((("", lambda one=one: one) for one in found), prompts.path)
