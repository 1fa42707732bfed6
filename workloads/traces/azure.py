"""Azure LLM inference traces, 2023 and 2024: CSV with TIMESTAMP, ContextTokens, GeneratedTokens.

Format: Azure/AzurePublicDataset, AzureLLMInferenceDataset2023.md and its successor of 2024. The two
years name the same columns and write times otherwise. 2023: ``2023-11-16 18:17:03.9799600``, seven
fractional digits, one more than `datetime` holds, so the fraction is read apart. 2024, a week each:
``2024-05-10 00:00:00.009930+00:00``, with an offset, and no fraction on a whole second.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

from ..api import RequestShape
from .rows import Row, csv_rows, fields_of

COLUMNS = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")

__all__ = ["COLUMNS", "fields_of", "read"]

_TIMESTAMP = re.compile(r"(\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:?\d\d)?")


def read(path: Path) -> tuple[RequestShape, ...]:
    """Every row as a request; times are seconds from the first row's.

    Lengths of 0 are kept as they are. Raises WorkloadError naming the line (the header is line 1):
    a missing or malformed value, a negative length, a time before the row above; or no rows.
    """
    time, inputs, outputs = COLUMNS
    requests: list[RequestShape] = []
    first_ns = last_ns = 0
    for row in csv_rows(path):
        time_ns = _time_ns(row)
        if not requests:
            first_ns = last_ns = time_ns
        if time_ns < last_ns:
            raise row.bad(time, "a time no earlier than the row above")
        last_ns = time_ns
        seconds = (time_ns - first_ns) / 1e9
        requests.append(RequestShape(seconds, row.tokens(inputs), row.tokens(outputs)))
    return tuple(requests)


def _time_ns(row: Row) -> int:
    match = _TIMESTAMP.fullmatch((row.values["TIMESTAMP"] or "").strip())
    try:
        if match is None:
            raise ValueError
        second, fraction, offset = match.groups()
        moment = datetime.fromisoformat(second + (offset or ""))
    except ValueError:
        raise row.bad("TIMESTAMP", "a time such as 2023-11-16 18:17:03.9799600") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp()) * 10**9 + int((fraction or "").ljust(9, "0"))
