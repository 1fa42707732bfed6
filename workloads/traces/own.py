"""Our own traces: JSON lines of t_due_s, input_tokens, output_tokens, and sessions where there are.

    {"t_due_s": 0.0, "input_tokens": 120, "output_tokens": 30, "session": "a"}
    {"t_due_s": null, "think_s": 4.5, "input_tokens": 175, "output_tokens": 42, "session": "a"}

`t_due_s`: seconds, never decreasing, from any start. `session`: a name; a request's prompt begins
with the prompt and the reply of the one before it in the same session, and `input_tokens` counts
all of it. `think_s` with a null `t_due_s`: due so long after that one has ended.
"""

from __future__ import annotations

from pathlib import Path

from ..api import RequestShape
from .json_lines import JsonLine, fields_of, json_lines

FIELDS = ("t_due_s", "input_tokens", "output_tokens")

__all__ = ["FIELDS", "fields_of", "read"]


def read(path: Path) -> tuple[RequestShape, ...]:
    """Every row as a request; times are seconds from the first row's.

    Raises WorkloadError naming the line: no JSON object, a field that is missing or malformed, a
    time before one above, a think time of a session that has not begun; or no rows.
    """
    requests: list[RequestShape] = []
    begun: set[str] = set()
    first_s: float | None = None
    last_s = 0.0
    for line in json_lines(path, FIELDS):
        session = _session(line)
        due_s = think_s = None
        if line.values["t_due_s"] is None:
            think_s = _think_s(line, session, begun)
        else:
            time_s = line.number("t_due_s", "seconds, 0 or more, or null beside a think_s")
            if time_s < last_s:
                raise line.bad("t_due_s", "a time no earlier than those above")
            first_s = time_s if first_s is None else first_s
            last_s, due_s = time_s, time_s - first_s
        if session is not None:
            begun.add(session)
        tokens = line.tokens("input_tokens"), line.tokens("output_tokens")
        requests.append(RequestShape(due_s, *tokens, session=session, think_s=think_s))
    return tuple(requests)


def _session(line: JsonLine) -> str | None:
    session = line.values.get("session")
    if session is None:
        return None
    if isinstance(session, bool) or not isinstance(session, str | int):
        raise line.bad("session", "a name")
    return str(session)


def _think_s(line: JsonLine, session: str | None, begun: set[str]) -> float:
    if session is None or session not in begun:
        raise line.bad("t_due_s", "seconds, as there is no turn of its session before it")
    if line.values.get("think_s") is None:
        raise line.error("has neither t_due_s nor think_s", "one of them")
    return line.number("think_s", "seconds, 0 or more")
