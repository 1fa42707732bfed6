"""BurstGPT traces, KDD 2025: CSV with Timestamp, Model, Request tokens, Response tokens and others.

Format: HPMLL/BurstGPT. `Timestamp` is in seconds from the first day's midnight. A row whose
response has 0 tokens is a request that failed; files without such rows are published, too. Later
releases add `Session ID` (of conversations) and `Elapsed time`. A session's row does not say what
was kept of what was said before, so rows are read as requests of their own.
"""

from __future__ import annotations

from pathlib import Path

from ..api import RequestShape
from .rows import csv_rows, fields_of

COLUMNS = ("Timestamp", "Request tokens", "Response tokens")

__all__ = ["COLUMNS", "fields_of", "read"]


def read(path: Path) -> tuple[RequestShape, ...]:
    """Every row as a request, failed ones with their 0 tokens; times are seconds from the first's.

    Raises WorkloadError naming the line (the header is line 1): a missing or malformed value, a
    negative length, a time before the row above; or no rows.
    """
    time, inputs, outputs = COLUMNS
    requests: list[RequestShape] = []
    first_s = last_s = 0.0
    for row in csv_rows(path):
        time_s = row.number(time, "seconds, 0 or more")
        if not requests:
            first_s = last_s = time_s
        if time_s < last_s:
            raise row.bad(time, "a time no earlier than the row above")
        last_s = time_s
        shape = RequestShape(time_s - first_s, row.tokens(inputs), row.tokens(outputs))
        requests.append(shape)
    return tuple(requests)
