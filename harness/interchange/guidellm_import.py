"""guidellm's JSON reports: one benchmark, or one of several by its number.

Source of the definitions: guidellm 0.8, `benchmark/schemas/generative` and the files it writes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from ..run.record import RequestRecord
from ..storage.store import StoredRun
from .foreign import Source, Totals, record, run_of_records, run_of_summary, token_count

TOOL = "guidellm"
_SPREAD = (
    "only a reply's first and last token have times, so it has no gaps between tokens, and rates "
    "over a window take the tokens between to come evenly"
)
_SUMMARY = (
    "its means over tokens (TPOT as `ntpot`, ITL as `tpot`) weigh a long reply more; ours weigh "
    "requests alike",
    "TTFT and latency count from the send, and latency to the end of the response",
)


def is_guidellm(data: Mapping[str, Any]) -> bool:
    benchmarks = data.get("benchmarks")
    return isinstance(benchmarks, list) and all(
        isinstance(one, Mapping) and "metrics" in one and "requests" in one for one in benchmarks
    )


def from_guidellm(
    data: Mapping[str, Any], path: Path, content: bytes, place: int | None
) -> StoredRun:
    """place: which of the benchmarks. Raises KeyError, TypeError or ValueError for a file that
    lacks what such a file has, or whose benchmark is not said."""
    benchmarks = data["benchmarks"]
    if place is None and len(benchmarks) != 1:
        raise ValueError(f"it holds {len(benchmarks)} benchmarks; choose one as {path.name}#0")
    if not 0 <= (place or 0) < len(benchmarks):
        raise ValueError(f"it has no benchmark {place}; it holds {len(benchmarks)}")
    benchmark = benchmarks[place or 0]
    strategy = benchmark["config"]["strategy"]
    rows = _measured(benchmark)
    time_limited = _time_limited(benchmark)
    totals = _totals(benchmark, time_limited=time_limited)
    # A report may keep a sample of its requests.
    whole = len(rows) == totals.requests and totals.ok > 0
    source = Source(
        tool=TOOL,
        path=path,
        content=content,
        model=str(data["config"]["spec"]["backend"].get("model") or "not said"),
        notes=(_SPREAD,) if whole else _SUMMARY,
        created_at=datetime.fromtimestamp(float(benchmark["start_time"]), UTC).isoformat(),
        request_rate=strategy.get("rate"),
        max_concurrency=_cap(benchmark["config"]),
        time_limited=time_limited,
    )
    if whole:
        return run_of_records(source, _records(rows, strategy))
    metrics = benchmark["metrics"]
    ttft = _statistics(metrics, "time_to_first_token_ms", 1e-3)
    latencies = {
        "ttft": ttft,
        "ttft_send": ttft,
        "tpot": _statistics(metrics, "inter_token_latency_ms", 1e-3),
        "ntpot": _statistics(metrics, "time_per_output_token_ms", 1e-3),
        "e2el": _statistics(metrics, "request_latency", 1.0),
    }
    names = {
        "output_throughput": "output_tokens_per_second",
        "total_throughput": "tokens_per_second",
        "request_throughput": "requests_per_second",
    }
    rates = {ours: float(_served(metrics, theirs)["mean"]) for ours, theirs in names.items()}
    return run_of_summary(source, totals, latencies, rates)


def _cap(config: Mapping[str, Any]) -> int | None:
    """The requests in flight that were asked for at most. A strategy without a cap names the most
    that guidellm's workers hold, which is no one's setting: its profile has none."""
    strategy = config["strategy"]
    if strategy["type_"] == "synchronous":
        return 1
    return strategy.get("streams") or (config.get("profile") or {}).get("max_concurrency")


def _totals(benchmark: Mapping[str, Any], *, time_limited: bool) -> Totals:
    counts = benchmark["metrics"]["request_totals"]
    tokens = _served(benchmark["metrics"], "output_token_count")
    errored, incomplete = int(counts["errored"]), int(counts["incomplete"])
    return Totals(
        duration_s=float(benchmark["duration"]),
        ok=int(counts["successful"]),
        failed=errored if time_limited else errored + incomplete,
        output_tokens=int(tokens["total_sum"]),
        unfinished=incomplete if time_limited else 0,
    )


def _time_limited(benchmark: Mapping[str, Any]) -> bool:
    """Whether its limit of seconds ended it, and nothing else that cancels requests."""
    ended = (benchmark["scheduler_state"].get("end_processing_constraints") or {}).values()
    said = [(one.get("metadata") or {}).get("duration_exceeded", False) for one in ended]
    return bool(said) and all(said)


def _measured(benchmark: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """The requests, each with what became of it, that were under way between warm-up and cooldown:
    those that its counts and statistics are of."""
    times = benchmark["scheduler_metrics"]
    start_s, end_s = times["measure_start_time"], times["measure_end_time"]

    def is_within(row: Mapping[str, Any]) -> bool:
        began_s, ended_s = row["request_start_time"], row["request_end_time"]
        return ended_s >= start_s and (ended_s if began_s is None else began_s) <= end_s

    kinds = ("successful", "errored", "incomplete")
    return [
        (kind, row) for kind in kinds for row in benchmark["requests"][kind] or () if is_within(row)
    ]


def _records(
    rows: Sequence[tuple[str, Mapping[str, Any]]], strategy: Mapping[str, Any]
) -> list[RequestRecord]:
    """In the order they were sent; what was cancelled before is left out."""
    kept = [(kind, row) for kind, row in rows if row["info"]["timings"]["request_start"]]
    kept.sort(key=lambda one: one[1]["info"]["timings"]["request_start"])
    dues_s = [_due_s(row["info"]["timings"], strategy) for _, row in kept]
    origin_s = min(dues_s, default=0.0)
    each = enumerate(zip(kept, dues_s, strict=True))
    return [_record(index, kind, row, due_s, origin_s) for index, ((kind, row), due_s) in each]


def _due_s(timings: Mapping[str, Any], strategy: Mapping[str, Any]) -> float:
    """When its strategy wanted it to start; of a fixed number of streams, when one was free. As
    fast as can be (`throughput`) wants them all at the start of the run: there it is the send."""
    wanted_s = None if strategy["type_"] == "throughput" else timings["targeted_start"]
    return float(wanted_s or timings["request_start"])


def _record(
    index: int, kind: str, row: Mapping[str, Any], due_s: float, origin_s: float
) -> RequestRecord:
    tokens = token_count(row.get("output_tokens") or 0)
    timings = row["info"]["timings"]
    chunk_times_s = [time_s - origin_s for time_s in _chunk_times_s(timings, tokens)]
    made = record(
        index,
        due_s=due_s - origin_s,
        send_s=timings["request_start"] - origin_s,
        chunk_times_s=chunk_times_s,
        input_tokens=int(row.get("prompt_tokens") or 0),
        output_tokens=tokens,
        error=str(row["info"].get("error") or "failed") if kind == "errored" else "",
        cancelled=kind == "incomplete",
    )
    return made if len(chunk_times_s) == 1 else _without_gaps(made)


def _chunk_times_s(timings: Mapping[str, Any], tokens: int) -> Sequence[float]:
    """One where a reply came all at once: what was not streamed has no token's time, and is there
    when its request ends. Else one a token, of which the first and the last are the file's."""
    first_s, last_s = timings["first_token_iteration"], timings["last_token_iteration"]
    if first_s is None or last_s is None:
        end_s = timings["request_end"]
        return () if end_s is None else (end_s,)
    return (last_s,) if first_s == last_s else np.linspace(first_s, last_s, tokens).tolist()


def _without_gaps(made: RequestRecord) -> RequestRecord:
    """Between the first and the last, the times are ours and not the file's."""
    counted = "total" if made.counted else ""
    return replace(made, chunk_times_s=(), chunk_tokens=(), counted=counted)


def _served(metrics: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    return metrics[name]["successful"]


def _statistics(metrics: Mapping[str, Any], name: str, to_s: float) -> dict[str, float]:
    block = _served(metrics, name)
    words = {"mean": "mean", "std_dev": "std", "min": "min", "max": "max"}
    found = {stat: float(block[word]) * to_s for word, stat in words.items()}
    return found | {q: float(block["percentiles"][q]) * to_s for q in ("p50", "p90", "p95", "p99")}
