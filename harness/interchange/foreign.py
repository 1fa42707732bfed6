"""A run that another tool measured, in the form that `compare` takes.

What the file does not say stays unsaid: steps, KV cache, memory, the machine. What it defines
otherwise is a warning of the comparison.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...reports.facts import NOT_SAID
from ..metrics import LATENCIES, TimePerOutputToken, rate_metrics
from ..metrics.counters import count_replies
from ..result import HELD_BACK, Check, Counters, Metric, Result, Validity, Window, WorkloadSummary
from ..run.record import RequestRecord, RequestStatus
from ..run.replies import Replies, check_held_back, replies_only
from ..run.validity import check_complete, check_errors, check_steady, check_tail
from ..storage.store import StoredRun
from ..tables.requests import requests_frame
from ..tables.steps import steps_frame

MOST_TOKENS = 2**24
# Of seconds, milliseconds and rates: far beyond any, and its square is still a float.
_MOST = 1e15


@dataclass(frozen=True)
class Source:
    """Where a run comes from.

    tool: as reports call it. notes: what a reader must know before comparing its numbers with
    ours. cancelled: whether the tool says that the run was cut short. time_limited: whether it was
    to end after a time, whatever was under way.
    """

    tool: str
    path: Path
    content: bytes
    model: str
    notes: tuple[str, ...]
    created_at: str | None = None
    request_rate: float | None = None
    max_concurrency: int | None = None
    cancelled: bool = False
    time_limited: bool = False


@dataclass(frozen=True)
class Totals:
    """What a summary counts. unfinished: requests that a time limit cut off."""

    duration_s: float
    ok: int
    failed: int
    output_tokens: int
    unfinished: int = 0

    @property
    def requests(self) -> int:
        return self.ok + self.failed + self.unfinished


def run_of_records(source: Source, records: Sequence[RequestRecord]) -> StoredRun:
    """From requests; every metric is computed here, by its definition here."""
    replies = replies_only(records, {})
    complete = check_complete(records, interrupted=source.cancelled)
    if source.time_limited:
        unfinished = sum(one.status is RequestStatus.UNFINISHED for one in records)
        complete = _check_cut(unfinished, len(records))
    checks = (
        complete,
        check_errors(records),
        check_held_back(records),
        check_steady(replies.window),
        check_tail(records),
    )
    result = _result(source, checks, replies, count_replies(records), len(records))
    return StoredRun(source.path, result, requests_frame(records), steps_frame(records, []))


def run_of_summary(
    source: Source,
    totals: Totals,
    latencies: Mapping[str, Mapping[str, float]],
    rates: Mapping[str, float],
) -> StoredRun:
    """From a summary: numbers as the tool computed them, and so no interval.

    latencies: statistics in seconds by metric id; zeros alone say that no reply had a value. rates:
    a second of the whole run, by metric id. Raises ValueError where one is no number.
    """
    _check_finite("the summary", totals.duration_s, *rates.values())
    for name, stats in latencies.items():
        _check_finite(name, *stats.values())
    whole = Window(
        start_s=0.0,
        end_s=totals.duration_s,
        method="the whole run: only a summary is known",
        steady=False,
    )
    checks = (
        Check(
            id="errors",
            ok=bool(totals.ok and totals.output_tokens)
            and not totals.failed
            and not source.cancelled,
            fatal=True,
            value=float(totals.failed),
            limit=0.0,
            detail=f"{totals.ok} requests served, {totals.failed} failed"
            + ("" if totals.output_tokens else ", no token of a reply")
            + (", cut short" if source.cancelled else ""),
        ),
        _check_cut(totals.unfinished, totals.requests),
        _check_pace(latencies),
        check_steady(whole),
    )
    found = {metric.id: metric for metric in LATENCIES}
    metrics = {
        name: Metric.of(found[name], stats)
        for name, stats in latencies.items()
        if any(stats.values()) and not (name == TimePerOutputToken.id and _counts_zeros(stats))
    }
    for rate in rate_metrics({}):
        if rate.id in rates:
            value = rates[rate.id]
            metrics[rate.id] = Metric.of(rate, {"window": value, "run": value})
    counters = Counters(
        output_tokens=totals.output_tokens,
        requests_ok=totals.ok,
        requests_refused=0,
        requests_failed=totals.failed,
        requests_unfinished=totals.unfinished,
    )
    replies = Replies(totals.duration_s, whole, metrics)
    result = _result(source, checks, replies, counters, totals.requests)
    return StoredRun(source.path, result, requests_frame([]), steps_frame([], []))


def _check_cut(unfinished: int, planned: int) -> Check:
    """A run that ends after a time measured what it was to, but of the requests under way at its
    end it has no latency, and the longest are the likeliest among them."""
    detail = f"{planned} requests ended"
    if unfinished:
        detail = f"cut by its time limit: {unfinished} of {planned} requests did not end, and are "
        detail += "in no latency"
    return Check(
        id="complete",
        ok=not unfinished,
        fatal=False,
        value=float(unfinished),
        limit=0.0,
        detail=detail,
    )


def _check_pace(latencies: Mapping[str, Mapping[str, float]]) -> Check:
    """Other tools take a reply that came all at once for one without a pause."""
    held_back = _counts_zeros(latencies[TimePerOutputToken.id])
    detail = "no reply of several tokens is known to have come all at once"
    if held_back:
        detail = "replies of several tokens came all at once: a TPOT that has them as 0 is left out"
    return Check(id=HELD_BACK, ok=not held_back, fatal=False, detail=detail)


def _counts_zeros(stats: Mapping[str, float]) -> bool:
    """Whether the smallest value is 0, though others are not. Not every tool tells it."""
    values = [value for name, value in stats.items() if name != "std"]
    return any(values) and min(values) == 0


def record(
    index: int,
    *,
    due_s: float,
    send_s: float,
    chunk_times_s: Sequence[float],
    input_tokens: int,
    output_tokens: int,
    error: str = "",
    cancelled: bool = False,
) -> RequestRecord:
    """A request of which a client saw chunks.

    As many chunks as tokens: each is a token. Otherwise only the total is known: the tokens are
    spread evenly over the chunks, which is right for the first and the last, and the record says
    that the gaps between them are not known. Of whom the file has no token, or no time of one, as
    of a refusal without a word, failed. Raises ValueError where a time is no number.
    """
    _check_finite(f"request {index}", due_s, send_s, *chunk_times_s)
    if not (error or cancelled) and not (output_tokens and len(chunk_times_s)):
        error = "the file has no token of its reply, or not when one came"
    status = RequestStatus.OK
    if error or cancelled:
        status = RequestStatus.UNFINISHED if cancelled else RequestStatus.FAILED
    served = status is RequestStatus.OK
    each = served and len(chunk_times_s) == output_tokens
    times_s: tuple[float, ...] = ()
    if served:
        place = np.linspace(0, len(chunk_times_s) - 1, output_tokens).round().astype(int)
        times_s = tuple(chunk_times_s[at] for at in place)
    return RequestRecord(
        request_id=f"r{index}",
        index=index,
        status=status,
        t_due_s=due_s,
        t_send_s=send_s,
        t_scheduled_s=None,
        token_times_s=times_s,
        input_tokens=input_tokens,
        output_token_ids=(),
        detail=error,
        chunk_times_s=tuple(chunk_times_s) if served else (),
        chunk_tokens=(1,) * output_tokens if each else (),
        counted="" if not served else "usage" if each else "total",
        error=error and "foreign",
    )


def _check_finite(place: str, *values: float) -> None:
    if not all(abs(value) <= _MOST for value in values):
        raise ValueError(f"{place} holds what is no finite number of up to {_MOST:g}")


def token_count(value: float) -> int:
    """A number of tokens as a file has it. Raises ValueError for one that no model produced, for
    which there would have to be as many times."""
    if not 0 <= value <= MOST_TOKENS:
        raise ValueError(f"{value} is no number of tokens")
    return int(value)


def _result(
    source: Source,
    checks: Sequence[Check],
    replies: Replies,
    counters: Counters,
    num_requests: int,
) -> Result:
    digest = hashlib.sha256(source.content).hexdigest()
    notes = tuple(
        Check(id="imported", ok=False, fatal=False, detail=f"from {source.tool}: {note}")
        for note in source.notes
    )
    config: dict[str, Any] = {
        "model": source.model,
        "engine": source.tool,
        **dict.fromkeys(("batching", "admission", "kv", "quant"), NOT_SAID),
        "request_rate": source.request_rate,
        "max_concurrency": source.max_concurrency,
        "num_requests": num_requests,
        "slo": {},
    }
    return Result(
        run_id=digest[:16],
        created_at=source.created_at,
        status="partial" if source.cancelled else "complete",
        label=f"{source.model} by {source.tool}",
        config=config,
        environment={},
        validity=Validity.of((*checks, *notes)),
        workload=WorkloadSummary(
            name=f"imported from {source.tool}",
            # Nobody can say that it was the same as another's.
            fingerprint=digest,
            num_requests=num_requests,
            description={},
            adjustments=(),
        ),
        window=replies.window,
        duration_s=replies.duration_s,
        metrics=replies.metrics,
        kv=None,
        counters=counters,
        attribution=None,
        target=None,
        client_error=None,
    )
