"""A result from its parts: what a real run and a simulated one say alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...workloads.api import Plan
from ..result import (
    ClientError,
    ClientLoad,
    Memory,
    Quality,
    Result,
    ServerOwnMetrics,
    Simulation,
    Target,
    WorkloadSummary,
)
from .summarise import Summary


def build_result(
    summary: Summary,
    plan: Plan,
    *,
    fingerprint: str,
    run_id: str,
    created_at: str | None,
    partial: bool,
    label: str,
    config: dict[str, Any],
    environment: dict[str, Any],
    memory: Memory | None = None,
    quality: Quality | None = None,
    kernels: Mapping[str, str] | None = None,
    kernel_calls: Mapping[str, Mapping[str, int]] | None = None,
    emulated: Mapping[str, str] | None = None,
    simulation: Simulation | None = None,
    target: Target | None = None,
    client: ClientLoad | None = None,
    client_error: ClientError | None = None,
    server_metrics: ServerOwnMetrics | None = None,
) -> Result:
    """What was summarised of serving `plan`, and what it was summarised of."""
    return Result(
        run_id=run_id,
        created_at=created_at,
        status="partial" if partial else "complete",
        label=label,
        config=config,
        environment=environment,
        validity=summary.validity,
        workload=WorkloadSummary(
            name=str(plan.description["name"]),
            fingerprint=fingerprint,
            num_requests=len(plan.requests),
            description=plan.description,
            adjustments=plan.adjustments,
        ),
        window=summary.window,
        duration_s=summary.duration_s,
        metrics=summary.metrics,
        kv=summary.kv,
        memory=memory,
        counters=summary.counters,
        quality=quality,
        peaks=summary.peaks,
        energy=summary.energy,
        absent=dict(summary.absent),
        attribution=summary.attribution,
        simulation=simulation,
        target=target,
        client=client,
        client_error=client_error,
        server_metrics=server_metrics,
        kernels=dict(kernels or {}),
        emulated=dict(emulated or {}),
        kernel_calls={op: dict(counts) for op, counts in (kernel_calls or {}).items()},
    )
