"""Lines of a JSON-lines trace, each value checked and named by its line if it is bad."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..api import WorkloadError, shown_value
from ..spec.bounds import MOST_TOKENS
from .rows import LATEST, MOST

LONGEST_SHOWN = 60
_MISSING = object()


def fields_of(line: str) -> tuple[str, ...]:
    """The names in a line; none for a line that is no JSON object."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return ()
    return tuple(row) if isinstance(row, dict) else ()


@dataclass(frozen=True)
class JsonLine:
    """One line's object, and where it stands, from 1 on."""

    path: Path
    line: int
    values: Mapping[str, Any]

    def number(self, field: str, expected: str) -> float:
        """A number of 0 or more, and not beyond any clock."""
        value = self.values[field]
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.bad(field, expected)
        if not 0 <= value <= LATEST:
            raise self.bad(field, MOST if value > LATEST else expected)
        return float(value)

    def tokens(self, field: str) -> int:
        """A whole number of 0 or more."""
        value = self.values[field]
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.bad(field, "a whole number of tokens")
        if value < 0:
            raise self.bad(field, "0 tokens or more")
        if value > MOST_TOKENS:
            raise self.bad(field, f"at most {MOST_TOKENS:,} tokens")
        return value

    def bad(self, field: str, expected: str, value: object = _MISSING) -> WorkloadError:
        shown = shown_value(self.values[field] if value is _MISSING else value, LONGEST_SHOWN)
        return self.error(f"has {shown} in field {field}", expected)

    def error(self, problem: str, expected: str) -> WorkloadError:
        return WorkloadError("trace", self.path, expected, f"{problem} at line {self.line}")


def json_lines(path: Path, needed: tuple[str, ...]) -> Iterator[JsonLine]:
    """Every line that is not blank. Raises WorkloadError while it is read: no JSON object, a field
    that is missing, or no rows."""
    found = False
    try:
        with path.open(encoding="utf-8-sig") as lines:
            for number, text in enumerate(lines, start=1):
                if text.strip():
                    found = True
                    yield JsonLine(path, number, _object(path, number, text, needed))
    except UnicodeDecodeError as error:
        problem = f"is damaged: {error}"
        raise WorkloadError("trace", path, "JSON lines in UTF-8", problem) from error
    if not found:
        raise WorkloadError("trace", path, "at least one row", "has no rows")


def _object(path: Path, number: int, text: str, needed: tuple[str, ...]) -> Mapping[str, Any]:
    try:
        row = json.loads(text)
    except (ValueError, RecursionError) as error:
        problem = f"is not JSON at line {number}: {error}"
        raise WorkloadError("trace", path, "a JSON object a line", problem) from None
    if not isinstance(row, dict):
        problem = f"has no JSON object at line {number}"
        raise WorkloadError("trace", path, "a JSON object a line", problem)
    missing = [name for name in needed if name not in row]
    if missing:
        problem = f"has no {', '.join(missing)} at line {number}"
        raise WorkloadError("trace", path, f"the fields {', '.join(needed)}", problem)
    return row
