"""vLLM's result files, `vllm bench serve --save-result`, with or without `--save-detailed`.

Source of the definitions: `vllm/benchmarks/serve.py` and `lib/endpoint_request_func.py`, vLLM 0.32.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from itertools import accumulate
from pathlib import Path
from typing import Any

from ..run.record import RequestRecord
from ..storage.store import StoredRun
from .foreign import Source, Totals, record, run_of_records, run_of_summary, token_count

TOOL = "vllm bench serve"
_FROM_SEND = "TTFT and latency count from the send; what a request waited before is not in"
_CHUNKS = "its ITL is the gap between chunks, here `icl`"
_OPEN_LOOP = "how late its client sent is not known"


def is_vllm(data: Mapping[str, Any]) -> bool:
    return {"backend", "model_id", "completed", "total_output_tokens", "duration"} <= set(data)


def from_vllm(data: Mapping[str, Any], path: Path, content: bytes) -> StoredRun:
    """Raises KeyError, TypeError or ValueError for a file that lacks what such a file has."""
    asked = data["request_rate"]
    # Of sessions, our own export has null: when a turn came depended on the reply before it.
    rate = None if asked in ("inf", None) else float(asked)
    detailed = "ttfts" in data and "start_times" in data
    # A rate that rises over the run stands beside an `inf`.
    scheduled = rate is not None or data.get("ramp_up_strategy") is not None
    # A cap in front of a rate queues requests in the client, and the file says for how long.
    dated = detailed and scheduled and "queue_times" in data
    notes = [] if dated else [_FROM_SEND]
    if scheduled and not dated:
        notes.append(_OPEN_LOOP)
    if not detailed:
        notes += [_CHUNKS, "rates are over the whole run, its end included"]
    source = Source(
        tool=TOOL,
        path=path,
        content=content,
        model=str(data["model_id"]),
        notes=tuple(notes),
        created_at=_date(str(data.get("date") or "")),
        request_rate=rate,
        max_concurrency=data.get("max_concurrency"),
    )
    if detailed:
        return run_of_records(source, _records(data, dated=dated))
    totals = Totals(
        duration_s=float(data["duration"]),
        ok=int(data["completed"]),
        failed=int(data.get("failed") or 0),
        output_tokens=int(data["total_output_tokens"]),
    )
    ttft = _statistics(data, "ttft")
    latencies = {
        "ttft": ttft,
        "ttft_send": ttft,
        "tpot": _statistics(data, "tpot"),
        "icl": _statistics(data, "itl"),
        "e2el": _statistics(data, "e2el"),
    }
    rates = {
        "output_throughput": float(data["output_throughput"]),
        "total_throughput": float(data["total_token_throughput"]),
        "request_throughput": float(data["request_throughput"]),
    }
    return run_of_summary(source, totals, latencies, rates)


def _records(data: Mapping[str, Any], *, dated: bool) -> list[RequestRecord]:
    starts_s = [float(start_s) for start_s in data["start_times"]]
    queued_s = data["queue_times"] if dated else [0.0] * len(starts_s)
    dues_s = [start_s - wait_s for start_s, wait_s in zip(starts_s, queued_s, strict=True)]
    origin_s = min(dues_s, default=0.0)
    columns = ("ttfts", "itls", "input_lens", "output_lens", "errors")
    rows = zip(starts_s, dues_s, *(data[name] for name in columns), strict=True)
    records = []
    for index, (start_s, due_s, ttft_s, gaps_s, inputs, outputs, error) in enumerate(rows):
        send_s = start_s - origin_s
        records.append(
            record(
                index,
                due_s=due_s - origin_s,
                send_s=send_s,
                chunk_times_s=[*accumulate(gaps_s, initial=send_s + ttft_s)],
                input_tokens=int(inputs),
                output_tokens=token_count(outputs),
                error=str(error),
            )
        )
    return records


def _statistics(data: Mapping[str, Any], name: str) -> dict[str, float]:
    """In seconds; what the tool was not asked for is not there."""
    words = {"mean": "mean", "std": "std", "median": "p50"}
    words |= {f"p{q}": f"p{q}" for q in (50, 90, 95, 99)}
    return {
        stat: float(data[key]) / 1e3
        for word, stat in words.items()
        if (key := f"{word}_{name}_ms") in data
    }


def _date(text: str) -> str | None:
    try:
        return datetime.strptime(text, "%Y%m%d-%H%M%S").isoformat()
    except ValueError:
        return None
