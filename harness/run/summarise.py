"""From what was observed to what is stored: the pieces of a `Result` and the two tables."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from ...engines.kv.usage import KVSplit
from ...engines.trace import PhaseTimes, StepTrace
from ..attribution import attribute, summarise_parts, timeline_of_traces
from ..machine.throttling import Throttled
from ..metrics import (
    JUDGED,
    LATENCIES,
    GoodputShare,
    Interval,
    RequestMetric,
    rate_metrics,
    step_metrics,
)
from ..metrics.counters import count
from ..metrics.kv import KVPool, split_steps, summarise_kv
from ..result import (
    Attribution,
    Check,
    Counters,
    Energy,
    KVSummary,
    Metric,
    Peaks,
    Validity,
    Window,
)
from ..stats.summary import summary
from .record import RequestRecord, RequestStatus
from .validity import Asked, assess
from .window import steady_window

if TYPE_CHECKING:
    import pandas as pd

    from ...workloads.api import Plan, PlannedRequest

REQUEST_COLUMNS = (
    "request_id",
    "index",
    "sample",
    "status",
    "t_due_s",
    "t_send_s",
    "t_scheduled_s",
    "t_first_s",
    "t_end_s",
    "input_tokens",
    "output_tokens",
    "preemptions",
    "recomputed_tokens",
    "ttft_s",
    "tpot_s",
    "ntpot_s",
    "e2el_s",
    "queue_s",
    "token_times_s",
    "output_token_ids",
    "detail",
    "chunk_times_s",
    "chunk_tokens",
    "counted",
    "cached_tokens",
    "error",
    "after",
    "think_s",
    "prefix_blocks",
)
STEP_COLUMNS = (
    "index",
    "start_s",
    "end_s",
    "prefill_tokens",
    "decode_tokens",
    "prefill_requests",
    "decode_requests",
    "waiting",
    "running",
    "preempted",
    "preempted_ids",
    "refused",
    "recomputed_tokens",
    "prefix_hit_tokens",
    "kv_useful_tokens",
    "kv_reserved_tokens",
    "kv_internal_tokens",
    "kv_external_tokens",
    "kv_shared_tokens",
    "kv_capacity_tokens",
    "schedule_s",
    "prepare_s",
    "attention_s",
    "linear_s",
    "sample_s",
    "host_s",
    "communicate_s",
    "swap_s",
    "device_s",
    "synchronous",
    "dropped_ids",
    "chunk_request_ids",
    "chunk_phases",
    "chunk_starts",
    "chunk_lengths",
)
# What tables had not always, and what its absence means.
LATER_COLUMNS: Mapping[str, object] = {
    "device_s": 0.0,
    "synchronous": "",
    "dropped_ids": (),
    "chunk_times_s": (),
    "chunk_tokens": (),
    "counted": "",
    "cached_tokens": math.nan,
    "error": "",
    "after": math.nan,
    "think_s": 0.0,
    "prefix_blocks": None,
}
_KV_PARTS = tuple(part.name for part in fields(KVSplit))
_PHASES = tuple(phase.name for phase in fields(PhaseTimes))
_LATENCY_COLUMNS = ("ttft", "tpot", "ntpot", "e2el", "queue")


@dataclass(frozen=True)
class Summary:
    """The measured part of a `Result`."""

    duration_s: float
    window: Window
    metrics: dict[str, Metric]
    kv: KVSummary | None
    counters: Counters
    validity: Validity
    attribution: Attribution | None
    peaks: Peaks | None = None
    energy: Energy | None = None
    absent: Mapping[str, str] = field(default_factory=dict)

    def with_check(self, check: Check) -> Summary:
        """The same, judged by one check more."""
        return replace(self, validity=Validity.of((*self.validity.checks, check)))


def summarise(
    requests: Sequence[RequestRecord],
    steps: Sequence[StepTrace],
    *,
    pool: KVPool,
    max_num_batched_tokens: int,
    asked: Asked,
    slo: Mapping[str, float],
    interrupted: bool = False,
    failure: str = "",
    splits: Sequence[KVSplit] | None = None,
    throttled: Throttled | None = None,
) -> Summary:
    """Everything computed from one run's records and steps.

    requests, steps: the measured ones, in order of index, warm-up left out, times from the start
    of the measured run. slo: limits in seconds by metric id, empty for none. splits: what
    `split_steps` makes of them, where that is known already. throttled: as in `assess`.
    duration_s runs from that start to the last token or the end of the last step.
    """
    duration_s = max(
        [
            0.0,
            *(step.end_s for step in steps),
            *(request.t_end_s for request in requests if request.t_end_s is not None),
        ]
    )
    window = steady_window(requests, duration_s)
    splits = split_steps(requests, steps) if splits is None else splits
    return Summary(
        duration_s=duration_s,
        window=window,
        metrics={
            **latency_metrics(requests),
            **throughput_metrics(requests, window, duration_s, slo),
            **batch_metrics(steps, max_num_batched_tokens),
        },
        kv=summarise_kv(pool, splits, [step.end_s - step.start_s for step in steps]),
        counters=count(requests, steps, unsent=asked.unsent(requests)),
        validity=assess(
            requests,
            steps,
            window,
            asked,
            interrupted=interrupted,
            failure=failure,
            throttled=throttled,
        ),
        attribution=attribution(requests, steps),
    )


def attribution(
    requests: Sequence[RequestRecord], steps: Sequence[StepTrace]
) -> Attribution | None:
    """Where the latencies went; None where nothing was served."""
    timeline = timeline_of_traces([request.request_id for request in requests], steps)
    return summarise_parts(attribute(requests, timeline), timeline)


def latency_metrics(requests: Sequence[RequestRecord]) -> dict[str, Metric]:
    """Latencies of the requests that ended well, over the whole run; one without samples is
    left out."""
    served = [request for request in requests if request.status is RequestStatus.OK]
    found: dict[str, Metric] = {}
    for metric in LATENCIES:
        if isinstance(metric, RequestMetric):
            values = [value for value in map(metric.of, served) if value is not None]
        else:
            values = [value for request in served for value in metric.of(request)]
        if values:
            found[metric.id] = Metric(unit=metric.unit, better=metric.better, stats=summary(values))
    return found


def throughput_metrics(
    requests: Sequence[RequestRecord],
    window: Window,
    duration_s: float,
    slo: Mapping[str, float],
) -> dict[str, Metric]:
    """Rates over the steady window and the whole run; goodput and its share under an SLO, where any
    request can be judged by it."""
    share = GoodputShare(slo).of(requests) if slo else None
    spans = {"window": Interval(window.start_s, window.end_s), "run": Interval(0.0, duration_s)}
    found = {
        metric.id: Metric(
            unit=metric.unit,
            better=metric.better,
            stats={name: metric.of(requests, span) for name, span in spans.items()},
        )
        for metric in rate_metrics({} if share is None else slo)
    }
    if share is not None:
        found[GoodputShare.id] = Metric(
            unit=GoodputShare.unit, better=GoodputShare.better, stats={"run": share}
        )
    return found


def batch_metrics(steps: Sequence[StepTrace], max_num_batched_tokens: int) -> dict[str, Metric]:
    """What shared a step: mean and std over time, percentiles over steps."""
    if not steps:
        return {}
    durations_s = [step.end_s - step.start_s for step in steps]
    return {
        metric.id: Metric(
            unit=metric.unit,
            better=metric.better,
            stats=summary([metric.of(step) for step in steps], durations_s),
        )
        for metric in step_metrics(max_num_batched_tokens)
    }


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


def steps_frame(
    requests: Sequence[RequestRecord],
    steps: Sequence[StepTrace],
    splits: Sequence[KVSplit] | None = None,
) -> pd.DataFrame:
    """One row a step. requests: for final lengths, which tell reserved from internal room.
    splits: as in `summarise`."""
    import pandas as pd

    splits = split_steps(requests, steps) if splits is None else splits
    return pd.DataFrame(_step_columns(steps, splits), columns=list(STEP_COLUMNS))


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
        **{f"{name}_s": JUDGED[name].of(request) for name in _LATENCY_COLUMNS},
        # A hundred thousand replies fit as machine numbers, and not as Python's.
        "token_times_s": np.asarray(request.token_times_s, dtype=np.float64),
        "output_token_ids": np.asarray(request.output_token_ids, dtype=np.int64),
        "detail": request.detail,
        "chunk_times_s": np.asarray(request.chunk_times_s, dtype=np.float64),
        "chunk_tokens": np.asarray(request.chunk_tokens, dtype=np.int32),
        "counted": request.counted,
        "cached_tokens": math.nan if request.cached_tokens is None else request.cached_tokens,
        "error": request.error,
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
    )


def _step_columns(steps: Sequence[StepTrace], splits: Sequence[KVSplit]) -> dict[str, list[Any]]:
    """By column: a long run has a hundred thousand steps, and a table is made of columns."""
    chunks = [step.chunks for step in steps]
    phases = [step.phases for step in steps]
    return {
        "index": [step.index for step in steps],
        "start_s": [step.start_s for step in steps],
        "end_s": [step.end_s for step in steps],
        "prefill_tokens": [one.prefill_tokens for one in chunks],
        "decode_tokens": [one.decode_tokens for one in chunks],
        "prefill_requests": [one.prefills for one in chunks],
        "decode_requests": [one.decode_tokens for one in chunks],
        "waiting": [step.waiting for step in steps],
        "running": [step.running for step in steps],
        "preempted": [len(step.preempted) for step in steps],
        "preempted_ids": [list(step.preempted) for step in steps],
        "refused": [len(step.refused) for step in steps],
        "recomputed_tokens": [sum(one.recomputed.values()) for one in chunks],
        "prefix_hit_tokens": [sum(one.cached.values()) for one in chunks],
        **{f"kv_{name}": list(map(attrgetter(name), splits)) for name in _KV_PARTS},
        "kv_capacity_tokens": [step.kv.capacity_tokens for step in steps],
        **{name: list(map(attrgetter(name), phases)) for name in _PHASES},
        "device_s": [step.device_s for step in steps],
        "synchronous": [step.synchronous for step in steps],
        "dropped_ids": [list(step.dropped) for step in steps],
        "chunk_request_ids": [one.request_ids for one in chunks],
        "chunk_phases": [one.phases for one in chunks],
        "chunk_starts": [one.starts for one in chunks],
        "chunk_lengths": [one.lengths for one in chunks],
    }
