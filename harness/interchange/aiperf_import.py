"""aiperf's `profile_export_aiperf.json`, and the requests in `profile_export.jsonl` beside it; with
a prefix of one's own, `PREFIX.json` and `PREFIX.jsonl`.

Source of the definitions: aiperf 0.13, its documentation of metrics and the files it writes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from ..run.record import RequestRecord
from ..storage.store import StoredRun
from .foreign import Source, Totals, record, run_of_records, run_of_summary, token_count

TOOL = "aiperf"
SUMMARY_FILE = "profile_export_aiperf.json"
REQUESTS_FILE = "profile_export.jsonl"
_SUMMARY = (
    "TTFT and latency count from the send, not from when a request was due",
    "rates are over its phase, from before the first send until after the last response",
)
_CAPPED = (
    "it issues the credit for a request once its cap on requests in flight has room for it; what "
    "a request that was due waited before is not in"
)


def is_aiperf(data: Mapping[str, Any]) -> bool:
    return {"input_config", "request_latency", "request_count"} <= set(data)


def from_aiperf(data: Mapping[str, Any], path: Path, content: bytes) -> StoredRun:
    """Raises KeyError, TypeError or ValueError for a file that lacks what such a file has."""
    beside = path.with_name(REQUESTS_FILE if path.name == SUMMARY_FILE else f"{path.stem}.jsonl")
    rows = _measured(beside.read_text(encoding="utf-8")) if beside.is_file() else []
    if rows:
        _check_same_run(rows, data, beside.name)
    phase = next(
        (one for one in data["input_config"].get("phases", ()) if one.get("name") != "warmup"), {}
    )
    notes = () if rows else _SUMMARY
    if phase.get("rate") is not None and phase.get("concurrency") is not None:
        notes = (*notes, _CAPPED)
    source = Source(
        tool=TOOL,
        path=path,
        content=content,
        model=str(data["input_config"]["models"]["items"][0]["name"]),
        notes=notes,
        created_at=data.get("start_time"),
        request_rate=phase.get("rate"),
        max_concurrency=phase.get("concurrency"),
        cancelled=bool(data.get("was_cancelled")),
    )
    if rows:
        return run_of_records(source, _records(rows))
    return _summarised(source, data)


def _check_same_run(rows: Sequence[Mapping[str, Any]], data: Mapping[str, Any], name: str) -> None:
    """Raises ValueError where the file of that name, of these requests, is another run's, or not
    whole."""
    failed = sum(row.get("error") is not None for row in rows)
    held, counted = (len(rows) - failed, failed), (_count(data, "request_count"), _failed(data))
    if held != counted:
        raise ValueError(
            f"{name} beside it has {held[0]} requests served and {held[1]} failed, and it counts "
            f"{counted[0]} and {counted[1]}: move what is of another run"
        )


def _count(data: Mapping[str, Any], name: str) -> int:
    return int(data[name]["avg"])


def _failed(data: Mapping[str, Any]) -> int:
    """aiperf leaves out a count of none."""
    return _count(data, "error_request_count") if "error_request_count" in data else 0


def _summarised(source: Source, data: Mapping[str, Any]) -> StoredRun:
    totals = Totals(
        duration_s=float(data["benchmark_duration"]["avg"]),
        ok=_count(data, "request_count"),
        failed=_failed(data),
        output_tokens=int(data["total_osl"]["avg"]),
    )
    ttft = _statistics(data, "time_to_first_token")
    latencies = {
        "ttft": ttft,
        "ttft_send": ttft,
        "tpot": _statistics(data, "inter_token_latency"),
        "icl": _statistics(data, "inter_chunk_latency"),
        "e2el": _statistics(data, "request_latency"),
    }
    names = {
        "output_throughput": "output_token_throughput",
        "total_throughput": "total_token_throughput",
        "request_throughput": "request_throughput",
    }
    rates = {ours: float(data[theirs]["avg"]) for ours, theirs in names.items() if theirs in data}
    return run_of_summary(source, totals, latencies, rates)


def _measured(lines: str) -> list[Mapping[str, Any]]:
    """The requests of the measured phase, in the order they were sent."""
    rows = [json.loads(line) for line in lines.splitlines() if line.strip()]
    measured = [row for row in rows if row["metadata"]["benchmark_phase"] == "profiling"]
    return sorted(measured, key=lambda row: row["metadata"]["request_start_ns"])


def _records(measured: Sequence[Mapping[str, Any]]) -> list[RequestRecord]:
    origin_ns = min((_due_ns(row) for row in measured), default=0)
    return [_record(index, row, origin_ns) for index, row in enumerate(measured)]


def _due_ns(row: Mapping[str, Any]) -> int:
    """A request is due when aiperf's scheduler gives its worker a credit for it."""
    said = row["metadata"]
    return int(said.get("credit_issued_ns") or said["request_start_ns"])


def _record(index: int, row: Mapping[str, Any], origin_ns: int) -> RequestRecord:
    said, metrics = row["metadata"], row["metrics"]
    send_s = (said["request_start_ns"] - origin_ns) / 1e9
    times_s: Sequence[float] = ()
    if "time_to_first_token" in metrics:
        first_s = send_s + _value(metrics, "time_to_first_token") / 1e3
        gaps_ms = metrics.get("inter_chunk_latency", {"value": ()})["value"]
        times_s = [*accumulate((gap_ms / 1e3 for gap_ms in gaps_ms), initial=first_s)]
    elif "request_latency" in metrics:  # not streamed: all of it came at once
        times_s = [send_s + _value(metrics, "request_latency") / 1e3]
    error = row.get("error")
    return record(
        index,
        due_s=(_due_ns(row) - origin_ns) / 1e9,
        send_s=send_s,
        chunk_times_s=times_s,
        input_tokens=int(_value(metrics, "input_sequence_length")),
        output_tokens=token_count(_value(metrics, "output_sequence_length")),
        error="" if error is None else " ".join(str(error.get("message") or error).split()),
        cancelled=bool(said.get("was_cancelled")),
    )


def _value(metrics: Mapping[str, Any], name: str) -> float:
    """A failed request has few of them."""
    return float(metrics[name]["value"]) if name in metrics else 0.0


def _statistics(data: Mapping[str, Any], name: str) -> dict[str, float]:
    """In seconds."""
    block = data.get(name, {})
    words = {"avg": "mean", "std": "std", "min": "min", "max": "max"}
    words |= {f"p{q}": f"p{q}" for q in (50, 90, 95, 99)}
    return {stat: float(block[word]) / 1e3 for word, stat in words.items() if word in block}
