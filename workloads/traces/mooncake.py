"""Mooncake traces, FAST 2025: JSON lines of timestamp, input_length, output_length, hash_ids.

Format: kvcache-ai/Mooncake, FAST25-release. `timestamp` is in milliseconds. A hash id stands for
512 tokens of the prompt and all that stands before them, the last one for what is left: two
requests whose lists begin with the same ids have that prefix in common.

The recorder wrote a timestamp every 3 s, so that tens of requests carry the same one. Requests of
one timestamp are spread evenly, in the order of the file, over the time up to the next timestamp,
or over 3 s where that is further away or there is none. A request with a timestamp of its own keeps
it.
"""

from __future__ import annotations

import json
import math
from itertools import groupby
from pathlib import Path
from typing import TypeGuard

from ..api import RequestShape, WorkloadError

FIELDS = ("timestamp", "input_length", "output_length", "hash_ids")
BLOCK_TOKENS = 512
TICK_MS = 3000.0
LONGEST_SHOWN = 60


def fields_of(line: str) -> tuple[str, ...]:
    """The names in a line of such a file; none for a line that is no JSON object."""
    try:
        row = json.loads(line)
    except ValueError:
        return ()
    return tuple(row) if isinstance(row, dict) else ()


def read(path: Path) -> tuple[RequestShape, ...]:
    """Every row as a request; times are seconds from the first row's.

    Lengths of 0 are kept as they are. Raises WorkloadError naming the line: no JSON object, a field
    that is missing or malformed, a negative length, more ids than the prompt has blocks, a time
    before the line above; or no rows.
    """
    times_ms: list[float] = []
    shapes: list[tuple[int, int, tuple[int, ...]]] = []
    try:
        with path.open(encoding="utf-8-sig") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.strip():
                    continue
                row = _row(path, number, line)
                time_ms = _time_ms(path, number, row["timestamp"])
                if times_ms and time_ms < times_ms[-1]:
                    expected = "a time no earlier than the line above"
                    raise _bad(path, number, "timestamp", time_ms, expected)
                times_ms.append(time_ms)
                input_tokens = _length(path, number, "input_length", row["input_length"])
                output_tokens = _length(path, number, "output_length", row["output_length"])
                ids = _block_ids(path, number, row["hash_ids"], input_tokens)
                shapes.append((input_tokens, output_tokens, ids))
    except UnicodeDecodeError as error:
        problem = f"is damaged: {error}"
        raise WorkloadError("trace", path, "JSON lines in UTF-8", problem) from error
    if not shapes:
        raise WorkloadError("trace", path, "at least one row", "has no rows")
    return tuple(
        RequestShape((time_ms - times_ms[0]) / 1e3, *shape, BLOCK_TOKENS)
        for time_ms, shape in zip(spread(times_ms), shapes, strict=True)
    )


def spread(times_ms: list[float]) -> list[float]:
    """Ascending times with those that are equal told apart: see the file's docstring."""
    ticks = [(time_ms, len(list(same))) for time_ms, same in groupby(times_ms)]
    following = [time_ms for time_ms, _ in ticks[1:]] + [math.inf]
    return [
        time_ms + min(next_ms - time_ms, TICK_MS) * place / count
        for (time_ms, count), next_ms in zip(ticks, following, strict=True)
        for place in range(count)
    ]


def _row(path: Path, number: int, line: str) -> dict[str, object]:
    try:
        row = json.loads(line)
    except ValueError as error:
        problem = f"is not JSON at line {number}: {error}"
        raise WorkloadError("trace", path, "a JSON object a line", problem) from None
    if not isinstance(row, dict):
        problem = f"has no JSON object at line {number}"
        raise WorkloadError("trace", path, "a JSON object a line", problem)
    missing = [name for name in FIELDS if name not in row]
    if missing:
        problem = f"has no {', '.join(missing)} at line {number}"
        raise WorkloadError("trace", path, f"the fields {', '.join(FIELDS)}", problem)
    return row


def _time_ms(path: Path, number: int, value: object) -> float:
    if not _is_number(value) or not math.isfinite(value) or value < 0:
        raise _bad(path, number, "timestamp", value, "milliseconds, 0 or more")
    return float(value)


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _length(path: Path, number: int, name: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise _bad(path, number, name, value, "a whole number of tokens")
    if value < 0:
        raise _bad(path, number, name, value, "0 tokens or more")
    return value


def _block_ids(path: Path, number: int, value: object, input_tokens: int) -> tuple[int, ...]:
    if not isinstance(value, list) or any(type(one) is not int or one < 0 for one in value):
        raise _bad(path, number, "hash_ids", value, "a list of whole numbers, 0 or more")
    most = math.ceil(input_tokens / BLOCK_TOKENS)
    if len(value) > most:
        expected = f"at most {most}, the blocks of {BLOCK_TOKENS} tokens that the prompt has"
        problem = f"has {len(value)} hash_ids at line {number}"
        raise WorkloadError("trace", path, expected, problem)
    return tuple(value)


def _bad(path: Path, number: int, name: str, value: object, expected: str) -> WorkloadError:
    shown = repr(value)
    shown = shown if len(shown) <= LONGEST_SHOWN else shown[:LONGEST_SHOWN] + "…"
    problem = f"has {shown} in field {name} at line {number}"
    return WorkloadError("trace", path, expected, problem)
