"""Our own traces as CSV: t_due_s, input_tokens, output_tokens, and no sessions."""

from __future__ import annotations

from pathlib import Path

from ..api import RequestShape
from .own import FIELDS as COLUMNS
from .rows import csv_rows, fields_of

__all__ = ["COLUMNS", "fields_of", "read"]


def read(path: Path) -> tuple[RequestShape, ...]:
    """Every row as a request; times are seconds from the first row's.

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
        requests.append(RequestShape(time_s - first_s, row.tokens(inputs), row.tokens(outputs)))
    return tuple(requests)
