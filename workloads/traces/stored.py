"""A stored run: the requests that it was sent, from the table beside its result."""

from __future__ import annotations

from pathlib import Path

from ..api import RequestShape, WorkloadError
from ..spec.bounds import MOST_TOKENS
from .rows import LATEST

TABLE = "requests.parquet"
COLUMNS = ("index", "sample", "t_due_s", "input_tokens", "output_tokens")


def is_stored(path: Path) -> bool:
    """Whether a path is a run's directory or its table of requests."""
    return path.suffix == ".parquet" or (path / TABLE).is_file()


def read(path: Path) -> tuple[RequestShape, ...]:
    """Every request that was due, samples counted once, in the order of their due times.

    Of a closed loop, a request was due when a slot became free. A reply is as long as it came out,
    so one that was cut off is shorter than it was asked to be. Raises WorkloadError.
    """
    import pandas as pd

    table = path / TABLE if path.is_dir() else path
    expected = f"a run's directory or its {TABLE}"
    try:
        frame = pd.read_parquet(table)
    except (OSError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise WorkloadError("trace", path, expected, f"cannot be read: {reason}") from error
    missing = [name for name in COLUMNS if name not in frame.columns]
    if missing:
        raise WorkloadError("trace", path, expected, f"has no column {', '.join(missing)}")
    rows = frame[frame["sample"] == 0].sort_values(["t_due_s", "index"], kind="stable")
    if rows.empty:
        raise WorkloadError("trace", path, "at least one request", "has no rows")
    first_s = float(rows["t_due_s"].iloc[0])
    numbers = rows[["t_due_s", "input_tokens", "output_tokens"]].to_numpy(dtype=float)
    if not ((numbers >= 0) & (numbers <= (LATEST, MOST_TOKENS, MOST_TOKENS))).all():
        expected = f"times of 0 or more and lengths of up to {MOST_TOKENS:,} tokens"
        raise WorkloadError("trace", path, expected, "has others, or none, in a row")
    columns = (rows["t_due_s"], rows["input_tokens"], rows["output_tokens"])
    return tuple(
        RequestShape(float(due_s) - first_s, int(tokens_in), int(tokens_out))
        for due_s, tokens_in, tokens_out in zip(*columns, strict=True)
    )
