"""A run as a trace that Perfetto (ui.perfetto.dev) and chrome://tracing open: steps and requests.

Format: "Trace Event Format", the JSON that Chrome's tracer writes: complete events (`X`) for steps,
counters (`C`) for what each held, from its start on, nested asynchronous events (`b`, `e`, `n`) for
requests, which overlap. Times are microseconds from the start of the run.
"""

from __future__ import annotations

import json
import math
from collections.abc import Hashable, Iterable, Iterator
from itertools import chain, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..storage.store import StoredRun
from ..storage.whole_file import text_file, whole_file, writing

if TYPE_CHECKING:
    import pandas as pd

Event = dict[str, Any]
Row = dict[Hashable, Any]

ENGINE_PID, REQUESTS_PID = 1, 2
_STEPS_TID = 1
_COUNTED = ("prefill_tokens", "decode_tokens", "prefill_requests", "decode_requests")
_COSTS = (
    *("schedule_s", "prepare_s", "attention_s", "linear_s", "sample_s", "host_s"),
    *("communicate_s", "swap_s", "device_s"),
)
_HAPPENED = ("preempted", "refused", "recomputed_tokens", "prefix_hit_tokens")
_REQUESTS = ("running", "waiting")
_KV = ("useful", "reserved", "internal", "external")
# Shorter gaps between steps are the loop's own.
_IDLE_S = 0.005


def write_trace(run: StoredRun, path: Path) -> Path:
    """Write the trace as JSON, compressed if the name ends in .gz (Perfetto opens both). An event
    at a time, so that memory holds the tables only. Raises StoreError for `out`."""
    with writing("out", path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as draft, text_file(draft, path.name) as file:
            file.writelines(trace_lines(run))
    return path


def trace_lines(run: StoredRun) -> Iterator[str]:
    """The text of the file, an event a line."""
    yield '{"displayTimeUnit":"ms","traceEvents":[\n'
    separator = ""
    for event in trace_events(run):
        yield separator + json.dumps(event, separators=(",", ":"), allow_nan=False)
        separator = ",\n"
    yield "\n]}\n"


def trace_events(run: StoredRun) -> Iterator[Event]:
    """Every event of a run: names of the tracks first, then steps, then requests."""
    label = run.result.label
    yield _metadata(ENGINE_PID, "process_name", f"engine: {label}")
    yield _metadata(REQUESTS_PID, "process_name", "requests")
    yield {**_metadata(ENGINE_PID, "thread_name", "steps"), "tid": _STEPS_TID}
    for row, after in pairwise(chain(_rows(run.steps), (None,))):
        assert row is not None, "nothing comes before a step that is none"
        yield from _step(row)
        if after is None or after["start_s"] - row["end_s"] > _IDLE_S:
            yield from _idle(row)
    preempted = _preempted(run.steps)
    for row in _rows(run.requests):
        yield from _request(row, preempted.get(row["request_id"], ()))


def _step(row: Row) -> Iterator[Event]:
    start_us, end_us = _us(row["start_s"]), _us(row["end_s"])
    costs = {f"{name[:-2]}_us": _us(row[name]) for name in _COSTS if row[name] > 0}
    happened = {name: row[name] for name in _HAPPENED if row[name]}
    yield {
        "ph": "X",
        "pid": ENGINE_PID,
        "tid": _STEPS_TID,
        "ts": start_us,
        "dur": round(end_us - start_us, 3),
        "name": _step_name(row),
        "cat": "step",
        "args": {
            "step": row["index"],
            **{name: row[name] for name in _COUNTED},
            **happened,
            **costs,
        },
    }
    yield _counter("requests", start_us, {name: row[name] for name in _REQUESTS})
    yield _counter("KV tokens", start_us, {name: row[f"kv_{name}_tokens"] for name in _KV})


def _idle(row: Row) -> Iterator[Event]:
    """After this step nothing was computed for a while; a counter keeps its value until told."""
    end_us = _us(row["end_s"])
    yield _counter("requests", end_us, dict.fromkeys(_REQUESTS, 0))
    yield _counter("KV tokens", end_us, dict.fromkeys(_KV, 0))


def _step_name(row: Row) -> str:
    """`prefill 512`, `decode 32`, `prefill 480 + decode 32`: tokens of each phase."""
    phases = [
        f"{phase} {tokens}"
        for phase in ("prefill", "decode")
        if (tokens := row[f"{phase}_tokens"]) > 0
    ]
    return " + ".join(phases) or "no tokens"


def _request(row: Row, preempted_s: Iterable[float]) -> Iterator[Event]:
    """The whole request, and in it: queue, prefill, decode. One that never got so far has less."""
    end_s = _first_known(row["t_end_s"], row["t_first_s"], row["t_scheduled_s"], row["t_send_s"])
    told = {
        name: row[name]
        for name in ("status", "input_tokens", "output_tokens", "preemptions", "recomputed_tokens")
    }
    if row["detail"]:
        told["detail"] = row["detail"]
    # Of a server, nobody here saw when it began.
    seen = math.isfinite(row["t_scheduled_s"])
    stages = (
        ("queue", row["t_due_s"], row["t_scheduled_s"]),
        (
            "prefill" if seen else "queue and prefill",
            row["t_scheduled_s"] if seen else row["t_due_s"],
            row["t_first_s"],
        ),
        ("decode", row["t_first_s"], row["t_end_s"]),
    )
    yield _async("b", row, row["request_id"], row["t_due_s"], told)
    for name, start_s, stop_s in stages:
        if math.isfinite(start_s) and math.isfinite(stop_s):
            yield _async("b", row, name, start_s)
            yield _async("e", row, name, stop_s)
    for time_s in preempted_s:
        yield _async("n", row, "preempted", time_s)
    yield _async("e", row, row["request_id"], max(end_s, row["t_due_s"]))


def _preempted(steps: pd.DataFrame) -> dict[str, list[float]]:
    """When each request that lost its place lost it: at the start of the step that took it."""
    found: dict[str, list[float]] = {}
    for start_s, names in zip(steps["start_s"], steps["preempted_ids"], strict=True):
        for name in names:
            found.setdefault(name, []).append(start_s)
    return found


def _first_known(*times_s: float) -> float:
    return next((time_s for time_s in times_s if math.isfinite(time_s)), 0.0)


def _async(
    phase: str, row: Row, name: str, time_s: float, told: dict[str, object] | None = None
) -> Event:
    event: Event = {
        "ph": phase,
        "pid": REQUESTS_PID,
        "tid": 1,
        "cat": "request",
        "id": row["request_id"],
        "name": name,
        "ts": _us(time_s),
    }
    return {**event, "args": told} if told else event


def _counter(name: str, time_us: float, values: dict[str, int]) -> Event:
    return {"ph": "C", "pid": ENGINE_PID, "name": name, "ts": time_us, "args": values}


def _metadata(pid: int, kind: str, name: str) -> Event:
    return {"ph": "M", "pid": pid, "name": kind, "args": {"name": name}}


def _us(time_s: float) -> float:
    """Nanoseconds are the finest that a trace shows."""
    return round(1e6 * time_s, 3)


def _rows(frame: pd.DataFrame) -> Iterator[Row]:
    """Rows as plain Python values: numpy's are not JSON."""
    lists = [name for name in frame.columns if name.startswith("chunk_") or name == "token_times_s"]
    plain = frame.drop(columns=[*lists, "output_token_ids"], errors="ignore")
    for start in range(0, len(plain), 10_000):
        yield from plain.iloc[start : start + 10_000].to_dict(orient="records")
