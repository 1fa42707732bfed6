"""ServeGen's offline traces, SOSP 2026: JSON lines of input_length, output_length and others.

Format: alibaba/ServeGen, data/offline, trace_d to trace_f. A file is one batch job, submitted as a
whole: its rows have no times (`duration` is how long the reply took), so all are due at 0, in the
order of the file. Input lengths of a multimodal row count its images. trace_a to trace_c lack
output lengths and are not read.
"""

from __future__ import annotations

from pathlib import Path

from ..api import RequestShape
from .json_lines import fields_of, json_lines

FIELDS = ("request_id", "input_length", "output_length", "duration")

__all__ = ["FIELDS", "fields_of", "read"]


def read(path: Path) -> tuple[RequestShape, ...]:
    """Every row as a request, due at 0. Lengths of 0 are kept as they are.

    Raises WorkloadError naming the line: no JSON object, a field that is missing, a malformed or
    negative length; or no rows.
    """
    return tuple(
        RequestShape(0.0, line.tokens("input_length"), line.tokens("output_length"))
        for line in json_lines(path, FIELDS)
    )
