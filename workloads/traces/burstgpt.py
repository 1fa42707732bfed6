"""BurstGPT traces, KDD 2025: CSV with Timestamp, Model, Request tokens, Response tokens and others.

Format: HPMLL/BurstGPT. `Timestamp` is in seconds from the first day's midnight. A row whose
response has 0 tokens is a request that failed; files without such rows are published, too. Later
releases add `Session ID` (of conversations) and `Elapsed time`. A session's row does not say what
was kept of what was said before, so rows are read as requests of their own.
"""

from __future__ import annotations

from pathlib import Path

from ..api import RequestShape
from .rows import fields_of, requests_of

COLUMNS = ("Timestamp", "Request tokens", "Response tokens")

__all__ = ["COLUMNS", "fields_of", "read"]


def read(path: Path) -> tuple[RequestShape, ...]:
    """Every row as a request, failed ones with their 0 tokens; as `requests_of`."""
    return requests_of(path, *COLUMNS)
