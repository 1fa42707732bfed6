"""ShareGPT's form: a JSON list of {conversations: [{from: human | gpt | system, value}, …]}."""

from __future__ import annotations

import json
from collections.abc import Mapping

from ..api import WorkloadError
from ..spec import ShareGPTPrompts
from .conversation import Conversation, RecordError, collect, from_messages, read_file

_EXPECTED = "a JSON list of {conversations: [{from, value}, …]}"


def read_sharegpt(prompts: ShareGPTPrompts) -> list[Conversation]:
    """Every conversation in which a user speaks. Raises WorkloadError."""
    path = prompts.path
    text = read_file(path, _EXPECTED)
    try:
        records = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise WorkloadError("prompts.path", path, _EXPECTED, f"is not JSON: {error}") from None
    if not isinstance(records, list):
        raise WorkloadError("prompts.path", path, _EXPECTED, "holds no list")
    places = (
        (f"item {number}", lambda record=record: _conversation(record))
        for number, record in enumerate(records, start=1)
    )
    return collect(places, path)


def _conversation(record: object) -> Conversation | None:
    # Some files of this form say `conversation`, some `items`.
    for name in ("conversations", "conversation", "items"):
        if isinstance(record, Mapping) and name in record:
            return from_messages(record[name])
    raise RecordError("has no field 'conversations'")
