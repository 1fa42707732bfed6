"""Request traces. One file a format; `read_trace` tells them apart by their header."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..api import RequestShape, WorkloadError
from . import azure

# Format name, the columns its header must have, its reader.
_FORMATS: tuple[tuple[str, tuple[str, ...], Callable[[Path], tuple[RequestShape, ...]]], ...] = (
    ("Azure LLM inference CSV", azure.COLUMNS, azure.read),
)


def read_trace(path: str | Path) -> tuple[RequestShape, ...]:
    """Every request of a trace, in order; times are seconds from its first row.

    Raises WorkloadError: no such file, a format not known, or a bad row (its line is named).
    """
    path = Path(path)
    try:
        with path.open(encoding="utf-8-sig") as lines:
            header = lines.readline()
    except OSError as error:
        reason = (error.strerror or "unreadable").lower()
        raise WorkloadError("trace", path, "a trace file", f"cannot be read: {reason}") from error
    except UnicodeDecodeError as error:
        raise WorkloadError("trace", path, supported(), "is not UTF-8 text") from error
    if not header.strip():
        raise WorkloadError("trace", path, supported(), "is empty")
    columns = [name.strip() for name in header.split(",")]
    for _, required, read in _FORMATS:
        if set(required) <= set(columns):
            return read(path)
    raise WorkloadError("trace", path, supported(), _what_is_missing(columns))


def supported() -> str:
    """The formats that can be read, in words."""
    return " or ".join(f"{name} ({', '.join(columns)})" for name, columns, _ in _FORMATS)


def _what_is_missing(columns: list[str]) -> str:
    """Names the missing columns of the format that comes nearest, if any comes near."""
    nearest = max((required for _, required, _ in _FORMATS), key=lambda r: len(set(r) & {*columns}))
    missing = [name for name in nearest if name not in columns]
    if len(missing) == len(nearest):
        return "has no header of a known format"
    return f"has no column {', '.join(missing)}"
