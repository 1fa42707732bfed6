from __future__ import annotations

from llmbench.harness.tables.steps import STEP_COLUMNS, steps_frame

from ..observed import serve_in_turn


def test_the_steps_table() -> None:
    requests, steps = serve_in_turn(2)
    frame = steps_frame(requests, steps)

    assert tuple(frame.columns) == STEP_COLUMNS
    first = frame.iloc[0]
    assert (first["prefill_tokens"], first["decode_tokens"]) == (4, 0)
    # 4 of the 11 tokens it ends with are written; 64 slots are held.
    assert (first["kv_useful_tokens"], first["kv_reserved_tokens"]) == (4, 7)
    assert first["kv_internal_tokens"] == 64 - 11
    assert list(first["chunk_phases"]) == ["prefill"]
    assert frame["kv_capacity_tokens"].unique().tolist() == [1024]


def test_empty_step_tables_keep_their_columns() -> None:
    assert tuple(steps_frame([], []).columns) == STEP_COLUMNS
