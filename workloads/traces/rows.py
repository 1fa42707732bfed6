"""Rows of a CSV trace, each value checked and named by its line if it is bad."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..api import RequestShape, WorkloadError, shown_value
from ..spec.bounds import MOST_TOKENS

# Beyond what clocks say in any unit that traces use, and still whole numbers to a float.
LATEST = 1e15
MOST = f"at most {LATEST:g}"


def fields_of(line: str) -> tuple[str, ...]:
    """The columns in a header; none if it is no line of a CSV file."""
    try:
        return tuple(name.strip() for name in next(csv.reader([line]), ()))
    except csv.Error:
        return ()


@dataclass(frozen=True)
class Row:
    """One row. line: where it stands; the header is line 1."""

    path: Path
    line: int
    values: Mapping[str, str | None]

    def tokens(self, column: str) -> int:
        """A whole number of 0 or more."""
        try:
            tokens = int((self.values[column] or "").strip())
        except ValueError:
            raise self.bad(column, "a whole number of tokens") from None
        if tokens < 0:
            raise self.bad(column, "0 tokens or more")
        if tokens > MOST_TOKENS:
            raise self.bad(column, f"at most {MOST_TOKENS:,} tokens")
        return tokens

    def number(self, column: str, expected: str = "a number, 0 or more") -> float:
        """A number of 0 or more, and not beyond any clock."""
        try:
            number = float(self.values[column] or "")
        except ValueError:
            number = math.nan
        if not 0 <= number <= LATEST:
            raise self.bad(column, MOST if number > LATEST else expected)
        return number

    def bad(self, column: str, expected: str) -> WorkloadError:
        value = self.values[column]
        shown = "nothing" if value is None else shown_value(value, 60)
        problem = f"has {shown} in column {column} at line {self.line}"
        return WorkloadError("trace", self.path, expected, problem)


def csv_rows(path: Path) -> Iterator[Row]:
    """The rows of a file. Raises WorkloadError while it is read: damaged, or no rows."""
    found = False
    try:
        with path.open(newline="", encoding="utf-8-sig") as lines:
            rows = csv.DictReader(lines)
            rows.fieldnames = [name.strip() for name in rows.fieldnames or ()]
            check_columns(rows.fieldnames, "trace", path)
            for values in rows:
                found = True
                check_values(values, rows.line_num, "trace", path)
                yield Row(path, rows.line_num, values)
    except (csv.Error, UnicodeDecodeError) as error:
        problem = f"is damaged: {error}"
        raise WorkloadError("trace", path, "a CSV file in UTF-8", problem) from error
    if not found:
        raise WorkloadError("trace", path, "at least one row", "has a header and no rows")


def check_columns(names: Sequence[str], field: str, path: Path) -> None:
    """Raises WorkloadError: a name that is there twice, of which only one would be read."""
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if twice:
        problem = f"has the column {shown_value(twice[0], 60)} more than once"
        raise WorkloadError(field, path, "columns of different names", problem)


def check_values(values: Mapping[str, object], line: int, field: str, path: Path) -> None:
    """Raises WorkloadError: more values than columns, so that they may stand under wrong ones.

    values: as `csv.DictReader` reads a line, the surplus under None.
    """
    if None in values:
        problem = f"has more values than columns at line {line}"
        raise WorkloadError(field, path, "a value a column", problem)


def requests_of(path: Path, time: str, inputs: str, outputs: str) -> tuple[RequestShape, ...]:
    """Every row as a request, of columns of seconds and of tokens; times are seconds from the
    first row's.

    Raises WorkloadError naming the line (the header is line 1): a missing or malformed value, a
    negative length, a time before the row above; or no rows.
    """
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
