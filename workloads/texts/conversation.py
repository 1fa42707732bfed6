"""What is said in a conversation, and how records of several forms become one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from ..api import WorkloadError, shown_value
from ..spec.bounds import MOST_TOKENS

# Who speaks, by the names that data sets use.
ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "model": "assistant",
    "bing": "assistant",
    "bard": "assistant",
}


@dataclass(frozen=True)
class Turn:
    """What a user says, and the reply as recorded: its text, or how many tokens it had."""

    user: str
    reply: str | None = None
    reply_tokens: int | None = None


@dataclass(frozen=True)
class Conversation:
    """Turns, after what the system is told."""

    turns: tuple[Turn, ...]
    system: str = ""


class RecordError(ValueError):
    """A record that is no conversation; says why."""


def from_messages(messages: object) -> Conversation | None:
    """A conversation of {role, content} or {from, value} messages; None if no user speaks.

    What one speaker says in several messages becomes one; blank messages, and what a model says
    before any user does, are left out. Raises RecordError.
    """
    if not isinstance(messages, list):
        raise RecordError("is no list of messages")
    said = [one for one in map(_message, messages) if one[1].strip()]
    system = ""
    turns: list[Turn] = []
    for role, several in groupby(said, key=lambda pair: pair[0]):
        text = "\n\n".join(content for _, content in several)
        if role == "system":
            system = "\n\n".join(filter(None, (system, text)))
        elif role == "user":
            turns.append(Turn(text))
        elif turns and turns[-1].reply is None:
            turns[-1] = Turn(turns[-1].user, text)
    return Conversation(tuple(turns), system) if turns else None


def _message(message: object) -> tuple[str, str]:
    if not isinstance(message, Mapping):
        raise RecordError("holds a message that is no mapping")
    speaker = message.get("role", message.get("from"))
    content = message.get("content", message.get("value"))
    role = ROLES.get(str(speaker).lower())
    if role is None:
        raise RecordError(f"holds a message of the unknown speaker {shown_value(speaker)}")
    if not isinstance(content, str):
        raise RecordError("holds a message whose content is no text")
    return role, content


def from_record(
    record: Mapping[str, Any], prompt_field: str, reply_field: str | None
) -> Conversation | None:
    """A conversation of a record's fields; None for one that says nothing.

    Raises RecordError.
    """
    for name in filter(None, (prompt_field, reply_field)):
        if name not in record:
            raise RecordError(f"has no field {name!r} (it has {', '.join(map(str, record))})")
    prompt = record[prompt_field]
    if isinstance(prompt, str):
        conversation = Conversation((Turn(prompt),)) if prompt.strip() else None
    elif isinstance(prompt, list) and prompt and all(isinstance(one, str) for one in prompt):
        if not all(one.strip() for one in prompt):
            raise RecordError(f"has a blank turn in {prompt_field!r}")
        conversation = Conversation(tuple(Turn(text) for text in prompt))
    elif isinstance(prompt, list):
        conversation = from_messages(prompt)
    else:
        raise RecordError(f"has {type(prompt).__name__} in {prompt_field!r}, not a text or a list")
    if conversation is None or reply_field is None:
        return conversation
    return _with_replies(conversation, record[reply_field], reply_field)


def _with_replies(conversation: Conversation, found: object, name: str) -> Conversation:
    """Replies are one for each turn, or one for the only turn."""
    replies = found if isinstance(found, list) else [found]
    if len(replies) != len(conversation.turns):
        raise RecordError(f"has {len(replies)} in {name!r} for {len(conversation.turns)} turns")
    turns: list[Turn] = []
    for turn, reply in zip(conversation.turns, replies, strict=True):
        if isinstance(reply, str):
            turns.append(Turn(turn.user, reply))
        elif isinstance(reply, int) and not isinstance(reply, bool) and 0 < reply <= MOST_TOKENS:
            turns.append(Turn(turn.user, None, reply))
        else:
            shown = shown_value(reply)
            raise RecordError(f"has {shown} in {name!r}, neither a text nor a number of tokens")
    return Conversation(tuple(turns), conversation.system)


def collect(
    found: Iterator[tuple[str, Callable[[], Conversation | None]]], source: str | Path
) -> list[Conversation]:
    """All conversations, each made from one record, at a place that is named if it is bad."""
    conversations: list[Conversation] = []
    for place, make in found:
        try:
            conversation = make()
            if conversation is not None:
                _check_texts(conversation)
        except RecordError as bad:
            expected = "a text, a list of texts, or a list of messages"
            raise WorkloadError("prompts", source, expected, f"{bad} at {place}") from None
        if conversation is not None:
            conversations.append(conversation)
    if not conversations:
        raise WorkloadError("prompts", source, "at least one prompt", "holds no prompts")
    return conversations


def _check_texts(conversation: Conversation) -> None:
    """JSON may hold half of a surrogate pair, as of an emoji that was cut; no tokenizer reads it.

    Raises RecordError.
    """
    replies = (turn.reply or "" for turn in conversation.turns)
    texts = (conversation.system, *(turn.user for turn in conversation.turns), *replies)
    try:
        for text in texts:
            text.encode()
    except UnicodeEncodeError:
        raise RecordError("holds half of a surrogate pair") from None


def read_file(path: Path, expected: str) -> str:
    """A file's text. Raises WorkloadError."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        reason = (error.strerror or "unreadable").lower()
        raise WorkloadError("prompts.path", path, expected, f"cannot be read: {reason}") from error
    except UnicodeDecodeError as error:
        raise WorkloadError("prompts.path", path, expected, "is not UTF-8 text") from error
