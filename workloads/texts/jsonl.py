"""JSON lines: a record a line, with the fields that the workload names."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

from ..spec import JsonlPrompts
from .conversation import Conversation, RecordError, collect, from_record, read_file


def read_jsonl(prompts: JsonlPrompts) -> list[Conversation]:
    """Every record that says something. Raises WorkloadError, naming the line of a bad one."""
    text = read_file(prompts.path, "JSON lines")

    def parse(line: str) -> Conversation | None:
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise RecordError(f"is not JSON ({error})") from None
        if not isinstance(record, dict):
            raise RecordError("has no JSON object")
        return from_record(record, prompts.prompt_field, prompts.reply_field)

    def places() -> Iterator[tuple[str, Callable[[], Conversation | None]]]:
        # Not splitlines: a JSON string may hold other line separators, such as U+2028.
        for number, line in enumerate(text.split("\n"), start=1):
            if line.strip():
                yield f"line {number}", lambda line=line: parse(line)

    return collect(places(), prompts.path)
