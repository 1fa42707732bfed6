"""BurstGPT: the published rows, failures kept, and every bad row by its line."""

from __future__ import annotations

from pathlib import Path

import pytest
from llmbench.workloads.api import RequestShape, WorkloadError
from llmbench.workloads.traces import read_trace

HEADER = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type"
LATER = "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens"


def written(tmp_path: Path, *rows: str, header: str = HEADER) -> Path:
    path = tmp_path / "b.csv"
    path.write_text("\n".join((header, *rows)) + "\n")
    return path


def test_the_published_sample(shared_data: Path) -> None:
    """The first rows and their number, read off the file by eye."""
    rows = read_trace(shared_data / "traces/burstgpt_sample/burstgpt_1_head34.csv")
    assert len(rows) == 34
    assert rows[:3] == (
        RequestShape(0.0, 472, 18),
        RequestShape(40.0, 1087, 230),
        RequestShape(113.0, 417, 276),
    )


def test_a_failure_and_a_later_releases_columns(tmp_path: Path) -> None:
    path = written(tmp_path, "5.0,s1,0.3,GPT-4,10,0,10", "6.5,,1,GPT-4,7,8,15", header=LATER)
    assert read_trace(path) == (RequestShape(0.0, 10, 0), RequestShape(1.5, 7, 8))


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (
            "4,ChatGPT,1,2,3,x",
            "has '4' in column Timestamp at line 3; expected a time no earlier than the row above",
        ),
        ("soon,ChatGPT,1,2,3,x", "has 'soon' in column Timestamp at line 3; expected seconds, 0"),
        ("nan,ChatGPT,1,2,3,x", "has 'nan' in column Timestamp at line 3;"),
        ("6,ChatGPT,-1,2,3,x", "has '-1' in column Request tokens at line 3; expected 0 tokens"),
        ("6,ChatGPT,1", "has nothing in column Response tokens at line 3; expected a whole"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, row: str, problem: str) -> None:
    with pytest.raises(WorkloadError) as caught:
        read_trace(written(tmp_path, "5,ChatGPT,1,2,3,x", row))
    assert problem in str(caught.value)


def test_a_header_alone_is_no_trace(tmp_path: Path) -> None:
    with pytest.raises(WorkloadError, match="has a header and no rows"):
        read_trace(written(tmp_path))
