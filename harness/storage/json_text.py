"""JSON that every parser reads (RFC 8259, section 6: there are numbers for what is finite only)."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any


def json_text(
    data: Any, *, indent: int | None = 2, default: Callable[[Any], Any] | None = None
) -> str:
    """The text, ASCII only, so that it can be shown anywhere. A number that is not finite (the end
    of an interval that has none, a value that is not known) is null.

    default: gives what JSON has no form for another one; without, TypeError is raised.
    """
    return json.dumps(_finite(data), indent=indent, allow_nan=False, default=default)


def read_json(text: str | bytes) -> Any:
    """What it says. Raises ValueError for what is no JSON and for what only looks like it: NaN and
    infinities, numbers beyond what a float holds, and brackets too deep for Python."""
    try:
        return json.loads(text, parse_constant=_refuse, parse_float=_number)
    except RecursionError as error:
        raise ValueError("is nested too deeply") from error


def as_json(data: Any) -> Any:
    """What a reader of `data` as JSON has: lists for tuples, and text for what JSON has no form
    for. To be compared: numbers that are not finite stay."""
    return json.loads(json.dumps(data, default=str))


def not_finite(data: Any, name: str = "") -> tuple[str, float] | None:
    """The first number that JSON has no form for, by its name (`config.delay_factor`); None if
    there is none."""
    if isinstance(data, float):
        return None if math.isfinite(data) else (name, data)
    items: Iterable[tuple[Any, Any]] = ()
    if isinstance(data, Mapping):
        items = data.items()
    elif isinstance(data, list | tuple):
        items = enumerate(data)
    inside = (not_finite(value, f"{name}.{key}" if name else str(key)) for key, value in items)
    return next((found for found in inside if found), None)


def _finite(data: Any) -> Any:
    if isinstance(data, float):
        return data if math.isfinite(data) else None
    if isinstance(data, Mapping):
        return {key: _finite(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(value) for value in data]
    return data


def _number(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _refuse(text)


def _refuse(text: str) -> float:
    raise ValueError(f"{text} is no number")
