"""Measured pairs of lengths: [input tokens, output tokens], given in place or in a CSV."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from .api import WorkloadError, shown_value
from .lengths import Tokens
from .spec import PairLengths
from .spec.bounds import MOST_TOKENS
from .traces.rows import check_columns, check_values

COLUMNS = ("input_tokens", "output_tokens")


def measured_pairs(lengths: PairLengths) -> Tokens:
    """[pairs, 2] tokens. Raises WorkloadError, naming the line of a bad row."""
    if lengths.path is None:
        return np.array(lengths.pairs, dtype=np.int64)
    return np.array(_read(lengths.path), dtype=np.int64)


def _read(path: Path) -> list[tuple[int, int]]:
    expected = f"a CSV with the columns {', '.join(COLUMNS)}"
    try:
        with path.open(newline="", encoding="utf-8-sig") as lines:
            rows = csv.DictReader(lines, skipinitialspace=True)
            rows.fieldnames = [name.strip() for name in rows.fieldnames or ()]
            missing = [name for name in COLUMNS if name not in rows.fieldnames]
            if missing:
                problem = f"has no column {', '.join(missing)}"
                raise WorkloadError("lengths.path", path, expected, problem)
            check_columns(rows.fieldnames, "lengths.path", path)
            pairs = [
                (_tokens(path, rows.line_num, row, 0), _tokens(path, rows.line_num, row, 1))
                for row in rows
            ]
    except OSError as error:
        reason = (error.strerror or "unreadable").lower()
        raise WorkloadError("lengths.path", path, expected, f"cannot be read: {reason}") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise WorkloadError("lengths.path", path, expected, f"is damaged: {error}") from error
    if not pairs:
        raise WorkloadError("lengths.path", path, "at least one row", "has no rows")
    return pairs


def _tokens(path: Path, line: int, row: dict[str, str], column: int) -> int:
    check_values(row, line, "lengths.path", path)
    text = row[COLUMNS[column]]
    try:
        tokens = int(text)
    except (TypeError, ValueError):
        tokens = 0
    if not 1 <= tokens <= MOST_TOKENS:
        problem = f"has {shown_value(text)} in column {COLUMNS[column]} at line {line}"
        raise WorkloadError("lengths.path", path, f"1 to {MOST_TOKENS:,} tokens", problem)
    return tokens
