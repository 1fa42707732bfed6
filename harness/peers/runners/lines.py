"""The runner's end of the pipe: settings in as an argument, then a job a line and its times back.

argument    {"model": directory, "max_num_seqs": 8, ...}
first line  {"ready": {"versions": {...}, "settings": "..."}}
job         {"prompts": [[token ids], ...], "output_tokens": n}
answer      {"requests": [{"sent_s": s, "prompt_tokens": n, "token_times_s": [s, ...]}, ...]}
trouble     {"error": "one line"}

Times are seconds on a clock of the runner's own; only differences mean anything.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Any, NamedTuple


class Times(NamedTuple):
    """One request: when it was sent, prompt tokens that the engine counted, a time an output
    token."""

    sent_s: float
    prompt_tokens: int
    token_times_s: Sequence[float]


Generate = Callable[[Sequence[Sequence[int]], int], Sequence[Times]]
"""Prompts of token ids and how many tokens each must produce, to times in the prompts' order."""


class Loaded(NamedTuple):
    """An engine that is ready. settings: in words, what was chosen for it."""

    generate: Generate
    versions: Mapping[str, str]
    settings: str


def serve(load: Callable[[Mapping[str, Any]], Loaded]) -> None:
    """Load with the settings of the first argument, then answer jobs until standard input ends."""
    replies = _take_stdout()
    try:
        loaded = load(json.loads(sys.argv[1]))
        _say(replies, {"ready": {"versions": loaded.versions, "settings": loaded.settings}})
        for line in sys.stdin:
            job = json.loads(line)
            requests = loaded.generate(job["prompts"], job["output_tokens"])
            _say(replies, {"requests": [one._asdict() for one in requests]})
    except Exception as error:
        _say(
            replies,
            {"error": f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"},
        )
        raise


def _take_stdout() -> IO[str]:
    """Standard output for replies alone: what an engine prints goes to standard error."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return replies


def _say(replies: IO[str], message: Mapping[str, Any]) -> None:
    replies.write(json.dumps(message) + "\n")
    replies.flush()
