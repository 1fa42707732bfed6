"""Azure LLM inference traces, 2023: CSV with TIMESTAMP, ContextTokens, GeneratedTokens.

Format: Azure/AzurePublicDataset, AzureLLMInferenceDataset2023.md. Timestamps such as
``2023-11-16 18:17:03.9799600`` have seven fractional digits, one more than `datetime` holds, so the
fraction is read apart. An offset at the end, as in ``…03.979960+00:00``, is understood too.
"""

from __future__ import annotations

import csv
import re
from datetime import UTC, datetime
from pathlib import Path

from ..api import RequestShape, WorkloadError

COLUMNS = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")

_TIMESTAMP = re.compile(r"(\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:?\d\d)?")


def fields_of(line: str) -> tuple[str, ...]:
    """The columns in a header of such a file."""
    return tuple(name.strip() for name in line.split(","))


def read(path: Path) -> tuple[RequestShape, ...]:
    """Every row as a request; times are seconds from the first row's.

    Lengths of 0 are kept as they are. Raises WorkloadError naming the line (the header is line 1):
    a missing or malformed value, a negative length, a time before the row above; or no rows.
    """
    requests: list[RequestShape] = []
    first_ns = last_ns = 0
    try:
        with path.open(newline="", encoding="utf-8-sig") as lines:
            rows = csv.DictReader(lines)
            rows.fieldnames = [name.strip() for name in rows.fieldnames or ()]
            for row in rows:
                time_ns = _time_ns(path, rows.line_num, row["TIMESTAMP"])
                if not requests:
                    first_ns = last_ns = time_ns
                if time_ns < last_ns:
                    raise _bad(
                        path,
                        rows.line_num,
                        "TIMESTAMP",
                        row["TIMESTAMP"],
                        "a time no earlier than the row above",
                    )
                last_ns = time_ns
                requests.append(
                    RequestShape(
                        (time_ns - first_ns) / 1e9,
                        _length(path, rows.line_num, "ContextTokens", row["ContextTokens"]),
                        _length(path, rows.line_num, "GeneratedTokens", row["GeneratedTokens"]),
                    )
                )
    except (csv.Error, UnicodeDecodeError) as error:
        raise WorkloadError("trace", path, "a CSV file in UTF-8", f"is damaged: {error}") from error
    if not requests:
        raise WorkloadError("trace", path, "at least one row", "has a header and no rows")
    return tuple(requests)


def _time_ns(path: Path, line: int, text: str | None) -> int:
    match = _TIMESTAMP.fullmatch((text or "").strip())
    try:
        if match is None:
            raise ValueError
        second, fraction, offset = match.groups()
        moment = datetime.fromisoformat(second + (offset or ""))
    except ValueError:
        expected = "a time such as 2023-11-16 18:17:03.9799600"
        raise _bad(path, line, "TIMESTAMP", text, expected) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp()) * 10**9 + int((fraction or "").ljust(9, "0"))


def _length(path: Path, line: int, column: str, text: str | None) -> int:
    try:
        tokens = int((text or "").strip())
    except ValueError:
        raise _bad(path, line, column, text, "a whole number of tokens") from None
    if tokens < 0:
        raise _bad(path, line, column, text, "0 tokens or more")
    return tokens


def _bad(path: Path, line: int, column: str, value: str | None, expected: str) -> WorkloadError:
    shown = "nothing" if value is None else repr(value)
    return WorkloadError("trace", path, expected, f"has {shown} in column {column} at line {line}")
