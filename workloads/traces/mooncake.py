"""Mooncake traces, FAST 2025: JSON lines of timestamp, input_length, output_length, hash_ids.

Format: kvcache-ai/Mooncake, FAST25-release. `timestamp` is in milliseconds. A hash id stands for
512 tokens of the prompt and all that stands before them, the last one for what is left: two
requests whose lists begin with the same ids have that prefix in common.

The recorder wrote a timestamp every 3 s, so that tens of requests carry the same one. Requests of
one timestamp are spread evenly, in the order of the file, over the time up to the next timestamp,
or over 3 s where that is further away or there is none. A request with a timestamp of its own keeps
it. Other tools write the same fields with times to the millisecond: where two timestamps are nearer
to each other than the recorder's, every request keeps its own.
"""

from __future__ import annotations

import math
from itertools import groupby, pairwise
from pathlib import Path

from ..api import RequestShape
from .json_lines import JsonLine, fields_of, json_lines

FIELDS = ("timestamp", "input_length", "output_length", "hash_ids")
BLOCK_TOKENS = 512
TICK_MS = 3000.0
# The recorder's clock goes 3 ms fast or slow.
_LEAST_TICK_MS = 2900.0

__all__ = ["FIELDS", "fields_of", "read"]


def read(path: Path) -> tuple[RequestShape, ...]:
    """Every row as a request; times are seconds from the first row's.

    Lengths of 0 are kept as they are. Raises WorkloadError naming the line: no JSON object, a field
    that is missing or malformed, a negative length, more ids than the prompt has blocks, a time
    before the line above; or no rows.
    """
    times_ms: list[float] = []
    shapes: list[tuple[int, int, tuple[int, ...]]] = []
    for line in json_lines(path, FIELDS):
        time_ms = line.number("timestamp", "milliseconds, 0 or more")
        if times_ms and time_ms < times_ms[-1]:
            raise line.bad("timestamp", "a time no earlier than the line above", time_ms)
        times_ms.append(time_ms)
        input_tokens = line.tokens("input_length")
        shapes.append((input_tokens, line.tokens("output_length"), _block_ids(line, input_tokens)))
    return tuple(
        RequestShape((time_ms - times_ms[0]) / 1e3, *shape, BLOCK_TOKENS)
        for time_ms, shape in zip(spread(times_ms), shapes, strict=True)
    )


def spread(times_ms: list[float]) -> list[float]:
    """Ascending times with those that are equal told apart: see the file's docstring."""
    ticks = [(time_ms, len(list(same))) for time_ms, same in groupby(times_ms)]
    following = [time_ms for time_ms, _ in ticks[1:]] + [math.inf]
    apart_ms = (after - before for before, after in pairwise(time_ms for time_ms, _ in ticks))
    if any(gap_ms < _LEAST_TICK_MS for gap_ms in apart_ms):
        return times_ms
    return [
        time_ms + min(next_ms - time_ms, TICK_MS) * place / count
        for (time_ms, count), next_ms in zip(ticks, following, strict=True)
        for place in range(count)
    ]


def _block_ids(line: JsonLine, input_tokens: int) -> tuple[int, ...]:
    value = line.values["hash_ids"]
    if not isinstance(value, list) or any(type(one) is not int or one < 0 for one in value):
        raise line.bad("hash_ids", "a list of whole numbers, 0 or more")
    most = math.ceil(input_tokens / BLOCK_TOKENS)
    if len(value) > most:
        expected = f"at most {most}, the blocks of {BLOCK_TOKENS} tokens that the prompt has"
        raise line.error(f"has {len(value)} hash_ids", expected)
    return tuple(value)
