"""Stored runs made from hand-written observations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

from llmbench.engines.trace import StepTrace
from llmbench.harness.metrics.kv import KVPool
from llmbench.harness.result import Check, Memory, Result, Simulation, WorkloadSummary
from llmbench.harness.run.record import RequestRecord
from llmbench.harness.run.summarise import summarise
from llmbench.harness.run.validity import Asked
from llmbench.harness.storage.store import StoredRun
from llmbench.harness.tables.requests import requests_frame
from llmbench.harness.tables.steps import steps_frame

ENVIRONMENT: dict[str, Any] = {
    "cpu": {"model": "Some CPU", "usable_cores": 2},
    "torch": {"version": "2.13.0", "threads": 2},
    "packages": {"torch": "2.13.0", "transformers": "5.23.0"},
}
CONFIG: dict[str, Any] = {
    "model": "bundled",
    "engine": "paged",
    "batching": "separate",
    "admission": "optimistic",
    "kv": "paged",
    "quant": "none",
    "kv_dtype": "auto",
    "kv_memory_bytes": 4096,
    "max_num_batched_tokens": 64,
    "threads": 2,
    "request_rate": None,
    "max_concurrency": 1,
}
# Every run has an id of its own.
_NUMBERS = count()

SIMULATION = Simulation(
    hardware="h100",
    devices=4,
    cost_model="roofline",
    efficiency={"prefill": 0.5, "decode": 0.8},
    error="within 25 % on what was checked",
)


def stored_run(
    requests: Sequence[RequestRecord],
    steps: Sequence[StepTrace],
    *,
    label: str = "paged",
    fingerprint: str = "f" * 64,
    slo: Mapping[str, float] | None = None,
    config: Mapping[str, Any] | None = None,
    environment: Mapping[str, Any] | None = None,
    interrupted: bool = False,
    simulation: Simulation | None = None,
) -> StoredRun:
    slo = {} if slo is None else slo
    summary = summarise(
        requests,
        steps,
        pool=KVPool("paged", 1024, 4096, 4),
        max_num_batched_tokens=64,
        asked=Asked(
            {one.request_id: one.output_tokens for one in requests},
            open_loop=False,
            max_concurrency=1,
        ),
        slo=slo,
        interrupted=interrupted,
    )
    result = Result(
        run_id=f"run-{next(_NUMBERS)}",
        created_at=None if simulation else "2026-01-01T00:00:00Z",
        status="partial" if interrupted else "complete",
        label=label,
        config={
            **CONFIG,
            "slo": dict(slo),
            **({"simulated": True} if simulation else {}),
            **(config or {}),
        },
        environment={**({} if simulation else ENVIRONMENT), **(environment or {})},
        validity=summary.validity,
        workload=WorkloadSummary(
            name="hand",
            fingerprint=fingerprint,
            num_requests=len(requests),
            description={},
            adjustments=(),
        ),
        window=summary.window,
        duration_s=summary.duration_s,
        metrics=summary.metrics,
        kv=summary.kv,
        memory=Memory(weight_bytes=100, kv_bytes=4096, peak_rss_bytes=10_000),
        counters=summary.counters,
        attribution=summary.attribution,
        simulation=simulation,
    )
    return StoredRun(Path(label), result, requests_frame(requests), steps_frame(requests, steps))


def disturbed(
    run: StoredRun, *, check: str = "machine", detail: str, advice: str = ""
) -> StoredRun:
    """The same, while others had the machine or it was held back."""
    found = Check(id=check, ok=False, fatal=False, detail=detail, advice=advice)
    validity = run.result.validity
    validity = validity.model_copy(update={"checks": (*validity.checks, found)})
    return replace(run, result=run.result.model_copy(update={"validity": validity}))
