"""A run that was stored is a trace: what it was sent, read back from the table beside it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from llmbench.workloads.api import LengthLimits, RequestShape, WorkloadError, plan_workload
from llmbench.workloads.builtin import trace_workload
from llmbench.workloads.fitting import fit_trace
from llmbench.workloads.overrides import with_overrides
from llmbench.workloads.spec import WorkloadSpec
from llmbench.workloads.traces import read_trace

FRAME = pd.DataFrame(
    {
        "index": [1, 0, 0, 2],
        "sample": [0, 0, 1, 0],
        "t_due_s": [2.5, 2.0, 2.0, 4.0],
        "input_tokens": [30, 20, 20, 40],
        "output_tokens": [3, 2, 9, 4],
        "after": float("nan"),
        "think_s": 0.0,
        "prefix_blocks": None,
    }
)
ROWS = tuple(
    RequestShape(due_s, tokens, tokens // 10, samples=2)
    for due_s, tokens in ((0.0, 20), (0.5, 30), (2.0, 40))
)
LIMITS = LengthLimits(None, None, 1000)


def adjustments(spec: WorkloadSpec) -> tuple[str, ...]:
    return plan_workload(spec, seed=0, corpus_token_ids=range(5000), limits=LIMITS).adjustments


def test_by_directory_and_by_table(tmp_path: Path) -> None:
    """In order of due time; a second sample of a request is no request."""
    FRAME.to_parquet(tmp_path / "requests.parquet")
    assert read_trace(tmp_path) == ROWS
    assert read_trace(tmp_path / "requests.parquet") == ROWS


def test_a_prompt_has_as_many_replies_as_it_had(tmp_path: Path) -> None:
    """Known wrong here: one reply a prompt, so half of the load, and nothing said so."""
    FRAME.assign(prefix_blocks=pd.Series([[]] * 4)).to_parquet(tmp_path / "requests.parquet")
    spec = trace_workload(tmp_path)
    plan = plan_workload(spec, seed=0, corpus_token_ids=range(5000), limits=LIMITS)
    assert [one.samples for one in plan.requests] == [2, 2, 2]
    assert plan.adjustments == ()
    fewer = adjustments(with_overrides(spec, samples=1))
    assert fewer == ("replies to a prompt: 1, the stored run had 2",)


def test_a_fit_has_as_many_replies_to_a_prompt(tmp_path: Path) -> None:
    rows = [FRAME.assign(index=FRAME["index"] + 3 * at, t_due_s=at * 1.0) for at in range(20)]
    pd.concat(rows).to_parquet(tmp_path / "requests.parquet")
    assert fit_trace(tmp_path).spec.samples == 2


def test_later_turns_wait_as_they_did(tmp_path: Path) -> None:
    """0 was followed by 2 after a second, and that by 3; 1 stands alone. Known wrong here: four
    requests of their own, the later ones with all that was said before as a fresh prompt."""
    frame = pd.DataFrame(
        {
            "index": [0, 1, 2, 3],
            "sample": 0,
            "t_due_s": [1.0, 1.5, 4.0, 9.0],
            "input_tokens": [20, 7, 50, 80],
            "output_tokens": [10, 4, 10, 5],
            "after": [None, None, 0.0, 2.0],
            "think_s": [0.0, 0.0, 1.0, 2.5],
            "prefix_blocks": None,
        }
    )
    frame.to_parquet(tmp_path / "requests.parquet")
    assert read_trace(tmp_path) == (
        RequestShape(0.0, 20, 10, session="0"),
        RequestShape(0.5, 7, 4),
        RequestShape(None, 50, 10, session="0", think_s=1.0),
        RequestShape(None, 80, 5, session="0", think_s=2.5),
    )


def test_prompts_begin_alike_as_they_did(tmp_path: Path) -> None:
    """A block of a session's first turn that nobody else begins with is its own later turns'."""
    frame = pd.DataFrame(
        {
            "index": [0, 1, 2],
            "sample": 0,
            "t_due_s": [0.0, 1.0, 2.0],
            "input_tokens": [50, 90, 20],
            "output_tokens": 4,
            "after": [None, 0.0, None],
            "think_s": [0.0, 1.0, 0.0],
            "prefix_blocks": [[0, 1], [0, 1], [0]],
        }
    )
    frame.to_parquet(tmp_path / "requests.parquet")
    assert read_trace(tmp_path) == (
        RequestShape(0.0, 50, 4, (0,), 16, session="0"),
        RequestShape(None, 90, 4, (), 16, session="0", think_s=1.0),
        RequestShape(2.0, 20, 4, (0,), 16),
    )


def test_a_table_that_does_not_say_what_was_shared(tmp_path: Path) -> None:
    def said(frame: pd.DataFrame) -> tuple[str, ...]:
        frame.to_parquet(tmp_path / "requests.parquet")
        return adjustments(trace_workload(tmp_path))

    unknown = "which prompts of the stored run began alike is not known: none do here"
    assert said(FRAME) == (unknown,)
    assert said(FRAME.assign(prefix_blocks=pd.Series([[]] * 4))) == ()


def test_a_table_of_something_else(tmp_path: Path) -> None:
    FRAME.drop(columns=["sample", "t_due_s"]).to_parquet(tmp_path / "x.parquet")
    with pytest.raises(WorkloadError, match="has no column sample, t_due_s; expected a run's dir"):
        read_trace(tmp_path / "x.parquet")


@pytest.mark.parametrize("column", ["after", "think_s", "prefix_blocks"])
def test_a_table_without_a_column_of_a_run_is_none(tmp_path: Path, column: str) -> None:
    """Known wrong here: turns that did not wait, and prompts that shared nothing."""
    FRAME.drop(columns=column).to_parquet(tmp_path / "x.parquet")
    with pytest.raises(WorkloadError, match=f"has no column {column}; expected a run's dir"):
        read_trace(tmp_path / "x.parquet")


def test_an_empty_and_a_damaged_table(tmp_path: Path) -> None:
    FRAME[:0].to_parquet(tmp_path / "x.parquet")
    with pytest.raises(WorkloadError, match="has no rows"):
        read_trace(tmp_path / "x.parquet")
    (tmp_path / "y.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(WorkloadError, match="cannot be read: "):
        read_trace(tmp_path / "y.parquet")
    with pytest.raises(WorkloadError, match="cannot be read: "):
        read_trace(tmp_path / "none.parquet")


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("input_tokens", float("nan")),
        ("t_due_s", -1.0),
        ("t_due_s", None),
    ],
)
def test_a_table_with_a_value_that_is_none(
    tmp_path: Path, column: str, value: float | None
) -> None:
    FRAME.assign(**{column: [value, 2.0, 2.0, 4.0]}).to_parquet(tmp_path / "x.parquet")
    _is_refused(tmp_path / "x.parquet")
    FRAME.assign(**{column: [str(value)] * 4}).to_parquet(tmp_path / "x.parquet")
    _is_refused(tmp_path / "x.parquet")
    FRAME.assign(**{column: pd.Series([None] * 4)}).to_parquet(tmp_path / "x.parquet")
    _is_refused(tmp_path / "x.parquet")


def _is_refused(table: Path) -> None:
    with pytest.raises(
        WorkloadError, match="has others, or none, in a row; expected times of 0 or"
    ):
        read_trace(table)
