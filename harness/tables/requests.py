"""The table of requests: `requests.parquet`, one row a request."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..metrics import SLO_METRICS
from ..run.record import RequestRecord, RequestStatus
from .columns import REQUESTS

if TYPE_CHECKING:
    import pandas as pd

    from ...workloads.api import Plan, PlannedRequest

REQUEST_COLUMNS = tuple(column.name for column in REQUESTS)
_LATENCY_COLUMNS = ("ttft", "tpot", "ntpot", "e2el", "queue")


def requests_frame(requests: Sequence[RequestRecord], plan: Plan | None = None) -> pd.DataFrame:
    """One row a request; NaN where a time or a latency is absent. See `REQUEST_COLUMNS`.

    plan: what was sent, which knows of each later turn of a session the index of the one before it
    (`after`, NaN elsewhere) and the think time between, and of each prompt the names of the blocks
    of 16 tokens at its front that another one begins with, too (`prefix_blocks`); None where nobody
    knows.
    """
    import pandas as pd

    from ...workloads.sharing import shared_blocks

    turns = (
        {} if plan is None else {one.index: one for one in plan.requests if one.after is not None}
    )
    sent = () if plan is None else plan.requests
    begin = dict(
        zip(
            (one.index for one in sent),
            shared_blocks([one.prompt_token_ids for one in sent]),
            strict=True,
        )
    )
    rows = [
        {
            **_request_row(one),
            **_turn(turns.get(one.index)),
            "prefix_blocks": begin.get(one.index),
        }
        for one in requests
    ]
    frame = pd.DataFrame(rows, columns=list(REQUEST_COLUMNS))
    numbers = [name for name in REQUEST_COLUMNS if _is_scalar_s(name)]
    return frame.astype(dict.fromkeys((*numbers, "after"), "float64"))


def _turn(planned: PlannedRequest | None) -> dict[str, float]:
    """planned: a later turn."""
    if planned is None or planned.after is None:
        return {"after": math.nan, "think_s": 0.0}
    return {"after": float(planned.after), "think_s": planned.think_s}


def records_of(frame: pd.DataFrame) -> list[RequestRecord]:
    """The records a table of requests was made from."""
    return [_record(row) for row in frame.to_dict("records")]


def _is_scalar_s(column: str) -> bool:
    return column.endswith("_s") and column not in ("token_times_s", "chunk_times_s")


def _request_row(request: RequestRecord) -> dict[str, object]:
    return {
        "request_id": request.request_id,
        "index": request.index,
        "sample": request.sample,
        "status": request.status.value,
        "t_due_s": request.t_due_s,
        "t_send_s": request.t_send_s,
        "t_scheduled_s": request.t_scheduled_s,
        "t_first_s": request.t_first_s,
        "t_end_s": request.t_end_s,
        "input_tokens": request.input_tokens,
        "output_tokens": request.output_tokens,
        "preemptions": request.preemptions,
        "recomputed_tokens": request.recomputed_tokens,
        **{f"{name}_s": SLO_METRICS[name].of(request) for name in _LATENCY_COLUMNS},
        # A hundred thousand replies fit as machine numbers, and not as Python's.
        "token_times_s": np.asarray(request.token_times_s, dtype=np.float64),
        "output_token_ids": np.asarray(request.output_token_ids, dtype=np.int64),
        "detail": request.detail,
        "chunk_times_s": np.asarray(request.chunk_times_s, dtype=np.float64),
        "chunk_tokens": np.asarray(request.chunk_tokens, dtype=np.int32),
        "counted": request.counted,
        "cached_tokens": math.nan if request.cached_tokens is None else request.cached_tokens,
        "error": request.error,
        "finish_reason": request.finish_reason,
        "hidden_tokens": request.hidden_tokens,
    }


def _record(row: Mapping[Hashable, Any]) -> RequestRecord:
    scheduled_s, cached = float(row["t_scheduled_s"]), float(row["cached_tokens"])
    return RequestRecord(
        request_id=row["request_id"],
        index=int(row["index"]),
        sample=int(row["sample"]),
        status=RequestStatus(row["status"]),
        t_due_s=float(row["t_due_s"]),
        t_send_s=float(row["t_send_s"]),
        t_scheduled_s=None if math.isnan(scheduled_s) else scheduled_s,
        token_times_s=tuple(float(time_s) for time_s in row["token_times_s"]),
        input_tokens=int(row["input_tokens"]),
        output_token_ids=tuple(int(token) for token in row["output_token_ids"]),
        preemptions=int(row["preemptions"]),
        recomputed_tokens=int(row["recomputed_tokens"]),
        detail=row["detail"],
        chunk_times_s=tuple(float(time_s) for time_s in row["chunk_times_s"]),
        chunk_tokens=tuple(int(tokens) for tokens in row["chunk_tokens"]),
        counted=row["counted"],
        cached_tokens=None if math.isnan(cached) else int(cached),
        error=row["error"],
        finish_reason=row["finish_reason"],
        hidden_tokens=int(row["hidden_tokens"]),
    )
