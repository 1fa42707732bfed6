"""ServeGen's offline traces: a batch job, all due at once."""

from __future__ import annotations

from pathlib import Path

import pytest
from llmbench.workloads.api import LengthLimits, RequestShape, WorkloadError, plan_workload
from llmbench.workloads.builtin import trace_workload
from llmbench.workloads.traces import read_trace

# The first rows of data/offline/trace_d.jsonl.
ROWS = """{"request_id": 0, "type": "text", "input_length": 61, "output_length": 2370, \
"duration": 14000}
{"request_id": 1, "type": "text", "input_length": 54, "output_length": 2031, "duration": 11630}
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "trace_d.jsonl"
    path.write_text(text)
    return path


def test_rows_are_requests_that_are_due_at_once(tmp_path: Path) -> None:
    path = written(tmp_path, ROWS)
    assert read_trace(path) == (RequestShape(0.0, 61, 2370), RequestShape(0.0, 54, 2031))
    plan = plan_workload(
        trace_workload(path),
        seed=0,
        corpus_token_ids=range(100),
        limits=LengthLimits(None, None, 4096),
    )
    sent = [(one.t_due_s, len(one.prompt_token_ids), one.output_tokens) for one in plan.requests]
    assert sent == [(0.0, 61, 2370), (0.0, 54, 2031)]


def test_rows_that_say_nothing_of_replies_are_refused(tmp_path: Path) -> None:
    """As those of trace_a to trace_c."""
    row = '{"request_id": 0, "type": "text", "input_length": 20, "hash_ids": [7, 8]}'
    with pytest.raises(WorkloadError, match=r"has no field .*output_length; expected Azure"):
        read_trace(written(tmp_path, row))


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("2031", "-1", "has -1 in field output_length at line 2; expected 0 tokens or more"),
        ("54", "5.5", "has 5.5 in field input_length at line 2"),
        ('"output_length": 2031, ', "", "has no output_length at line 2"),
        ('"output_length": 2370, ', "", "has no field output_length; expected Azure"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, old: str, new: str, problem: str) -> None:
    assert old in ROWS
    with pytest.raises(WorkloadError) as caught:
        read_trace(written(tmp_path, ROWS.replace(old, new)))
    assert problem in str(caught.value)
