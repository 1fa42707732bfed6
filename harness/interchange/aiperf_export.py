"""A run as aiperf's `profile_export_aiperf.json`.

Source: the file that aiperf 0.13 writes (its schema 1.4), and the metrics' definitions in its
documentation. A metric is a block of unit, average, percentiles and the like; a rate or a count is
a block with `avg` alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from ..run.record import RequestRecord, RequestStatus
from ..stats.percentiles import percentiles
from ..storage.store import StoredRun
from .offered import offered_rate_per_s
from .seen import Seen, seen_of, sent_of, total

SCHEMA_VERSION = "1.4"
PERCENTILES = (1, 5, 10, 25, 50, 75, 90, 95, 99)


def to_aiperf(run: StoredRun) -> dict[str, Any]:
    """Latencies count from the send (`sent_of`). aiperf's "inter token latency" is our `tpot`, its
    "inter chunk latency" the gap between chunks. Rates are over `benchmark_duration`, from the
    first send to the last token; aiperf's own are over its phase, which is a little longer.
    """
    result = run.result
    records = sent_of(run)
    served = seen_of(records)
    inputs, outputs = total(served)
    start_s = min((one.t_send_s for one in served), default=0.0)
    duration_s = max((one.t_end_s for one in served), default=0.0) - start_s

    def rate(amount: float, unit: str) -> dict[str, Any]:
        return _single(unit, amount / duration_s if duration_s else 0.0)

    paces_s = [one.tpot_s for one in served if one.tpot_s is not None]
    second_s = [one.gaps_s[0] for one in served if one.gaps_s]
    tokens = [one.output_tokens for one in served]
    blocks = {
        "request_throughput": rate(len(served), "requests/sec"),
        "request_latency": _block("ms", [1e3 * one.latency_s for one in served]),
        "request_count": _single("requests", len(served)),
        "time_to_first_token": _block("ms", [1e3 * one.ttft_s for one in served]),
        "time_to_second_token": _block("ms", [1e3 * gap_s for gap_s in second_s]),
        "inter_token_latency": _block("ms", [1e3 * pace_s for pace_s in paces_s]),
        "output_token_throughput": rate(outputs, "tokens/sec"),
        "output_token_throughput_per_user": _block(
            "tokens/sec/user", [1 / pace_s for pace_s in paces_s if pace_s > 0]
        ),
        "output_sequence_length": _block("tokens", tokens),
        "input_sequence_length": _block(
            "tokens", [one.input_tokens for one in served if one.input_tokens]
        ),
        "output_token_count": _block("tokens", tokens),
        "inter_chunk_latency": _block("ms", _gaps_ms(served)),
        "total_output_tokens": _single("tokens", outputs),
        "benchmark_duration": _single("sec", duration_s),
        "total_isl": _single("tokens", inputs),
        "total_osl": _single("tokens", outputs),
        "input_token_throughput": rate(inputs, "tokens/sec"),
        "total_token_throughput": rate(inputs + outputs, "tokens/sec"),
        "error_request_count": _single("requests", len(records) - len(served)),
    }
    ends = _moments(result.created_at, duration_s)
    return {
        "schema_version": SCHEMA_VERSION,
        "benchmark_id": result.run_id,
        **{name: block for name, block in blocks.items() if block is not None},
        "input_config": _input_config(run),
        "run_info": {
            "benchmark_id": result.run_id,
            "random_seed": result.config.get("seed"),
            "cli_command": result.config.get("command"),
        },
        "was_cancelled": result.status == "partial",
        "is_complete": result.status == "complete",
        "error_summary": _errors(records),
        **ends,
    }


def _gaps_ms(served: Sequence[Seen]) -> list[float]:
    return [1e3 * gap_s for one in served for gap_s in one.gaps_s]


def _block(unit: str, values: Sequence[float]) -> dict[str, Any] | None:
    """None where there is nothing: an absent metric has no block."""
    if not values:
        return None
    data = np.asarray(values, dtype=np.float64)
    by_q = zip(PERCENTILES, percentiles(data, PERCENTILES), strict=True)
    return {
        "unit": unit,
        "avg": float(data.mean()),
        **{f"p{q}": value for q, value in by_q},
        "min": float(data.min()),
        "max": float(data.max()),
        "std": float(data.std()),
        "count": len(data),
        "sum": float(data.sum()),
    }


def _single(unit: str, value: float) -> dict[str, Any]:
    return {"unit": unit, "avg": float(value)}


def _input_config(run: StoredRun) -> dict[str, Any]:
    config = run.result.config
    phase: dict[str, Any] = {"name": "profiling", "requests": run.result.counters.requests_asked}
    if config.get("max_concurrency") is not None:
        phase["concurrency"] = config["max_concurrency"]
    if (rate_per_s := offered_rate_per_s(run.result)) is not None:
        phase["rate"] = rate_per_s
    return {"models": {"items": [{"name": config["model"]}]}, "phases": [phase]}


def _errors(records: Sequence[RequestRecord]) -> list[dict[str, Any]]:
    said = Counter(
        (str(one.status), one.detail) for one in records if one.status is not RequestStatus.OK
    )
    return [
        {"error_details": {"type": status, "message": detail}, "count": count}
        for (status, detail), count in said.most_common()
    ]


def _moments(created_at: str | None, duration_s: float) -> dict[str, str]:
    """The run is written down when it ends; a simulated one has no date."""
    if created_at is None:
        return {}
    end = datetime.fromisoformat(created_at)
    start = end - timedelta(seconds=duration_s)
    return {"start_time": start.isoformat(), "end_time": end.isoformat()}
