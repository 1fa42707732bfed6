"""Our own traces as CSV: t_due_s, input_tokens, output_tokens, and no sessions."""

from __future__ import annotations

from pathlib import Path

from ..api import RequestShape
from .own import FIELDS as COLUMNS
from .rows import fields_of, requests_of

__all__ = ["COLUMNS", "fields_of", "read"]


def read(path: Path) -> tuple[RequestShape, ...]:
    """As `requests_of`."""
    return requests_of(path, *COLUMNS)
