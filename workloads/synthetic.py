"""Prompts that are made: of exactly the lengths that were drawn, plus what was said before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from .api import LengthLimits, Message, RequestShape, WorkloadError
from .lengths import Tokens
from .making import Making
from .prompt_tokens import Words
from .sessions import Slot


@dataclass(frozen=True)
class Content:
    """What one request says, and what it waits for, if anything (an index among the contents)."""

    prompt_token_ids: tuple[int, ...]
    output_tokens: int
    after: int | None = None
    think_s: float = 0.0
    messages: tuple[Message, ...] = ()


def recorded(
    slots: Sequence[Slot],
    pairs: Tokens,
    rows: Sequence[RequestShape],
    words: Words,
    replies: Words,
    put_prefix: Callable[[int, tuple[int, ...]], tuple[int, ...]],
    beginning: Callable[[RequestShape], tuple[int, ...]],
    making: Making,
) -> list[Content]:
    """Prompts of a trace's rows: as long as recorded, what was said before them included.

    beginning: the tokens of the prefix blocks that a row names.
    """
    contents: list[Content] = []
    for index, (slot, row, (length, output)) in enumerate(
        zip(slots, rows, pairs.tolist(), strict=True)
    ):
        first = beginning(row)
        if slot.history is not None:
            before = contents[slot.history]
            first = before.prompt_token_ids + replies.take(slot.history, before.output_tokens)
        prompt = first[:length] + words.take(index, max(0, length - len(first)))
        if slot.history is None:
            prompt = put_prefix(index, prompt)
        making.add(length)
        contents.append(Content(prompt, output, slot.after, slot.think_s))
    return contents


def grown(
    slots: Sequence[Slot],
    pairs: Tokens,
    words: Words,
    replies: Words,
    put_prefix: Callable[[int, tuple[int, ...]], tuple[int, ...]],
    limits: LengthLimits,
    fit: Literal["error", "clip"],
    making: Making,
) -> tuple[list[Content], tuple[str, ...]]:
    """(prompts that grow from turn to turn, what was done). pairs: new tokens of each turn, output.

    A session ends before the turn that no longer fits. Raises WorkloadError where that is the
    model's length and `fit` is "error".
    """
    contents: list[Content] = []
    placed: dict[int, int] = {}
    for index, (slot, (new, output)) in enumerate(zip(slots, pairs.tolist(), strict=True)):
        if slot.history is None:
            prompt = put_prefix(index, words.take(index, new))
            after = None
        elif slot.history in placed:
            after = placed[slot.history]
            before = contents[after]
            said = before.prompt_token_ids + replies.take(slot.history, before.output_tokens)
            if not room_for(len(said) + new, output, limits, fit):
                continue
            prompt = said + words.take(index, new)
        else:
            continue
        making.add(len(prompt))
        placed[index] = len(contents)
        contents.append(Content(prompt, output, after, slot.think_s))
    return contents, left_out_note(len(slots) - len(contents), len(slots))


def room_for(
    input_tokens: int, output_tokens: int, limits: LengthLimits, fit: Literal["error", "clip"]
) -> bool:
    """Whether a later turn fits. Raises WorkloadError where it is longer than the model and may
    not be left out."""
    total = limits.max_total_tokens
    if limits.max_input_tokens is not None and input_tokens > limits.max_input_tokens:
        return False
    if input_tokens + output_tokens <= total:
        return True
    if fit == "clip":
        return False
    raise WorkloadError(
        "sessions",
        f"{input_tokens} + {output_tokens} tokens",
        f"at most {total} in all: fewer turns, --max-input-len, or fit: clip, which end a session "
        "there",
        "of a later turn are longer than the model",
    )


def left_out_note(missing: int, asked: int) -> tuple[str, ...]:
    """What is said of turns that did not fit."""
    if not missing:
        return ()
    return (f"{missing} of {asked} turns left out: their sessions had grown too long",)
