"""Our own traces as CSV: the table that anyone can write."""

from __future__ import annotations

from pathlib import Path

import pytest
from llmbench.workloads.api import RequestShape, WorkloadError
from llmbench.workloads.traces import is_trace_file, read_trace

HEADER = "t_due_s, input_tokens,output_tokens,note\n"


def test_rows_are_requests_from_the_first_ones_time(tmp_path: Path) -> None:
    """Known missing here: no plain table was a trace."""
    path = tmp_path / "x.csv"
    path.write_text(f"{HEADER}10.5,20,5,a\n12,7,0,b\n")
    assert is_trace_file(path)
    assert read_trace(path) == (RequestShape(0.0, 20, 5), RequestShape(1.5, 7, 0))


def test_a_column_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("t_due_s,input_tokens,output_tokens,input_tokens\n0,1,2,3\n")
    with pytest.raises(WorkloadError, match="has the column 'input_tokens' more than once"):
        read_trace(path)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("9,1,1,", "has '9' in column t_due_s at line 3"),
        ("soon,1,1,", "has 'soon' in column t_due_s at line 3"),
        ("11,-1,1,", "has '-1' in column input_tokens at line 3"),
        ("11,1", "has nothing in column output_tokens at line 3"),
        ("11,1,200,30,a", "has more values than columns at line 3"),
    ],
)
def test_a_bad_row_is_named_by_its_line(tmp_path: Path, row: str, said: str) -> None:
    path = tmp_path / "x.csv"
    path.write_text(f"{HEADER}10,20,5,a\n{row}\n")
    with pytest.raises(WorkloadError) as caught:
        read_trace(path)
    assert said in str(caught.value)
