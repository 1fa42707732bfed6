"""JSON that every parser reads (RFC 8259, section 6: there are numbers for what is finite only)."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any


def json_text(
    data: Any, *, indent: int | None = 2, default: Callable[[Any], Any] | None = None
) -> str:
    """The text, ASCII only, so that it can be shown anywhere. A number that is not finite (the end
    of an interval that has none, a value that is not known) is null.

    default: gives what JSON has no form for another one; without, TypeError is raised.
    """
    return json.dumps(_finite(data), indent=indent, allow_nan=False, default=default)


def _finite(data: Any) -> Any:
    if isinstance(data, float):
        return data if math.isfinite(data) else None
    if isinstance(data, Mapping):
        return {key: _finite(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(value) for value in data]
    return data
