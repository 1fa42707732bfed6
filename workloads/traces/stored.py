"""A stored run: the requests that it was sent, from the table beside its result."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..api import RequestShape, WorkloadError
from ..sharing import SHARING_BLOCK_TOKENS
from ..spec.bounds import MOST_SAMPLES, MOST_TOKENS
from .rows import LATEST

if TYPE_CHECKING:
    import pandas as pd

TABLE = "requests.parquet"
_NUMBERS = ["t_due_s", "input_tokens", "output_tokens"]
_OF_SHAPES = ("index", *_NUMBERS, "after", "think_s", "prefix_blocks")
COLUMNS = ("sample", *_OF_SHAPES)


def is_stored(path: Path) -> bool:
    """Whether a path is a run's directory or its table of requests."""
    return path.suffix == ".parquet" or (path / TABLE).is_file()


def read(path: Path) -> tuple[RequestShape, ...]:
    """Every request that was due, in the order of their due times; several replies to a prompt are
    one request, whose reply is as long as the first.

    Of a closed loop, a request was due when a slot became free. Later turns of a session wait for
    the one before, as they did. Prompts begin alike as far as they did in whole blocks; where the
    table does not say, no row has `prefix_block_tokens`. A reply is as long as it came out, so one
    that was cut off is shorter than it was asked to be. Raises WorkloadError.
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
    frame[_NUMBERS] = frame[_NUMBERS].apply(pd.to_numeric, errors="coerce")
    rows = frame[frame["sample"] == 0].sort_values(["t_due_s", "index"], kind="stable")
    if rows.empty:
        raise WorkloadError("trace", path, "at least one request", "has no rows")
    numbers = rows[_NUMBERS].to_numpy(dtype=float)
    if not ((numbers >= 0) & (numbers <= (LATEST, MOST_TOKENS, MOST_TOKENS))).all():
        expected = f"times of 0 or more and lengths of up to {MOST_TOKENS:,} tokens"
        raise WorkloadError("trace", path, expected, "has others, or none, in a row")
    # A request that failed early may have fewer rows than replies that it asked for.
    samples = int(frame["sample"].nunique())
    if samples > MOST_SAMPLES:
        expected = f"at most {MOST_SAMPLES:,}"
        raise WorkloadError("trace", path, expected, f"has {samples:,} replies to a prompt")
    return _shapes(rows, float(rows["t_due_s"].iloc[0]), samples)


def _shapes(rows: pd.DataFrame, first_s: float, samples: int) -> tuple[RequestShape, ...]:
    """A session is called by the index of the request that it began with."""
    begun = set(rows.loc[rows["after"].notna(), "after"].astype(int))
    sessions: dict[int, str] = {}
    shapes: list[RequestShape] = []
    for row in zip(*(rows[name].tolist() for name in _OF_SHAPES), strict=True):
        index, due_s, tokens_in, tokens_out, after, think_s, blocks = row
        before = None if math.isnan(after) else sessions.get(int(after))
        if before is not None or index in begun:
            sessions[index] = before or str(index)
        shapes.append(
            RequestShape(
                due_s - first_s if before is None else None,
                int(tokens_in),
                int(tokens_out),
                # A later turn begins with all that was said before it.
                () if blocks is None or before is not None else tuple(map(int, blocks)),
                0 if blocks is None else SHARING_BLOCK_TOKENS,
                session=sessions.get(index),
                think_s=None if before is None else think_s,
                samples=samples,
            )
        )
    return _without_a_sessions_own(shapes)


def _without_a_sessions_own(shapes: Sequence[RequestShape]) -> tuple[RequestShape, ...]:
    """The blocks that other first turns and lone requests begin with, too: what a session shares
    with itself only, its turns have anyway."""
    named = Counter(name for shape in shapes for name in shape.prefix_block_ids)
    return tuple(
        replace(shape, prefix_block_ids=tuple(n for n in shape.prefix_block_ids if named[n] > 1))
        for shape in shapes
    )
