"""Our own JSON lines: sessions, think times, and every bad line by its number."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from llmbench.workloads.api import LengthLimits, RequestShape, WorkloadError, plan_workload
from llmbench.workloads.builtin import trace_workload
from llmbench.workloads.traces import read_trace

FIRST = {"t_due_s": 10.0, "input_tokens": 20, "output_tokens": 5, "session": "a"}


def written(tmp_path: Path, *rows: dict[str, Any] | str) -> Path:
    path = tmp_path / "t.jsonl"
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("\n".join(lines) + "\n")
    return path


def row(due_s: float | None, tokens: int, session: object = None, **more: Any) -> dict[str, Any]:
    values = {"t_due_s": due_s, "input_tokens": tokens, "output_tokens": 5, "session": session}
    return {**values, **more}


def test_rows_are_what_they_say(tmp_path: Path) -> None:
    path = written(tmp_path, FIRST, row(12.5, 7), row(None, 30, "a", think_s=4), row(13, 9, 8))
    assert read_trace(path) == (
        RequestShape(0.0, 20, 5, session="a"),
        RequestShape(2.5, 7, 5),
        RequestShape(None, 30, 5, session="a", think_s=4.0),
        RequestShape(3.0, 9, 5, session="8"),
    )


def test_a_session_shares_what_was_said(tmp_path: Path) -> None:
    """The third of a session: 20 + 5 and new words; the fourth is shorter than its history."""
    path = written(
        tmp_path,
        FIRST,
        row(11, 40),
        row(None, 32, "a", think_s=4),
        row(14, 34, "a"),
        row(15, 60, "b"),
    )
    plan = plan_workload(
        trace_workload(path),
        seed=0,
        corpus_token_ids=[(7 * i * i) % 1009 for i in range(900)],
        limits=LengthLimits(None, None, 100),
    )
    first, alone, third, fourth, other = plan.requests
    assert [len(one.prompt_token_ids) for one in plan.requests] == [20, 40, 32, 34, 60]
    assert third.prompt_token_ids[:20] == first.prompt_token_ids
    assert fourth.prompt_token_ids[:32] == third.prompt_token_ids
    assert alone.prompt_token_ids[:4] != other.prompt_token_ids[:4]
    # The third waits for the first to end; the fourth comes at its own time.
    assert [one.t_due_s for one in plan.requests] == [0, 1, None, 4, 5]
    assert (third.after, third.think_s, fourth.after) == (0, 4.0, None)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("[]", "has no JSON object at line 2"),
        ('{"t_due_s": 12}', "has no input_tokens, output_tokens at line 2; expected the fields t_"),
        (
            row(9, 1),
            "has 9 in field t_due_s at line 2; expected a time no earlier than those above",
        ),
        (row(12, 1, session=[1]), "has [1] in field session at line 2; expected a name"),
        (row(None, 1, "z", think_s=1), "has None in field t_due_s at line 2; expected seconds, as"),
        (row(None, 1, "a"), "has neither t_due_s nor think_s at line 2; expected one of them"),
        (row(None, 1, "a", think_s=-1), "has -1 in field think_s at line 2; expected seconds, 0"),
        (row(12, -1), "has -1 in field input_tokens at line 2; expected 0 tokens or more"),
        (
            row(12, 10**22),
            "has 10000000000000000000000 in field input_tokens at line 2; expected at",
        ),
        (
            row(10**400, 1),
            "has a number of more digits than can be shown in field t_due_s at line 2",
        ),
        ("[" * 100_000, "is not JSON at line 2: "),
        (row(True, 1), "has True in field t_due_s at line 2;"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: dict[str, Any] | str, problem: str) -> None:
    with pytest.raises(WorkloadError) as caught:
        read_trace(written(tmp_path, FIRST, line))
    assert problem in str(caught.value)
