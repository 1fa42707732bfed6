"""What one run found, whole: `Result`, and the JSON Schema of its file."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator

from .attribution import Attribution
from .base import ResultPart
from .client import ClientError, ClientLoad
from .kv import KVSummary
from .machine import Energy, Memory, Peaks, Simulation
from .metrics import Counters, Metric
from .quality import Quality
from .server import ServerOwnMetrics, Target
from .validity import Validity

SCHEMA_VERSION = 2


class WorkloadSummary(ResultPart):
    """What was sent; two runs with one fingerprint sent the same bytes."""

    name: str
    fingerprint: str
    num_requests: int
    description: dict[str, Any]
    adjustments: tuple[str, ...]


class Window(ResultPart):
    """The steady window: from the end of ramp-up to the last arrival, as `method` says."""

    start_s: float
    end_s: float
    method: str
    steady: bool = Field(
        default=True, description="False: no steady state was found; the whole run."
    )


# What reports and comparisons ask of a configuration by name.
_NAMED_SETTINGS = ("model", "engine", "batching", "admission", "kv", "quant")


class Result(ResultPart):
    """Everything a run found, less the per-request and per-step tables beside it."""

    schema_version: int = SCHEMA_VERSION
    run_id: str
    created_at: str | None = Field(
        description="When; null for a simulated run, whose bytes depend on nothing but its input."
    )
    status: Literal["complete", "partial"]
    label: str
    config: dict[str, Any]
    environment: dict[str, Any]
    validity: Validity
    workload: WorkloadSummary
    window: Window
    duration_s: float
    metrics: dict[str, Metric]
    kv: KVSummary | None = Field(None, description="Null where a server keeps it to itself.")
    memory: Memory | None = None
    counters: Counters
    quality: Quality | None = None
    peaks: Peaks | None = Field(default=None, description="Null where they are not known.")
    energy: Energy | None = Field(default=None, description="Null where nothing counts it.")
    absent: dict[str, str] = Field(
        default_factory=dict, description="Why the run lacks a metric that others have, by its id."
    )
    attribution: Attribution | None = Field(None, description="Null where no request was served.")
    simulation: Simulation | None = Field(
        default=None, description="Present exactly if no model ran."
    )
    target: Target | None = Field(
        default=None, description="Present exactly if a server was driven."
    )
    client: ClientLoad | None = None
    client_error: ClientError | None = Field(
        default=None, description="Null where the client has not been calibrated on this machine."
    )
    server_metrics: ServerOwnMetrics | None = Field(
        default=None, description="Null where no server was asked for them."
    )
    kernels: dict[str, str] = Field(
        default_factory=dict,
        description="Which implementation is asked first for each operation.",
    )
    emulated: dict[str, str] = Field(
        default_factory=dict,
        description="Operations that the device computed in another arithmetic than their method's "
        "own, and what was done instead: their speed says nothing about hardware that has it.",
    )
    kernel_calls: dict[str, dict[str, int]] = Field(
        default_factory=dict,
        description="Which implementations computed each operation while requests were measured, "
        "and in how many calls. What a CUDA graph replays is not a call.",
    )

    @field_validator("config")
    @classmethod
    def _has_its_named_settings(cls, config: dict[str, Any]) -> dict[str, Any]:
        for name in _NAMED_SETTINGS:
            if not isinstance(config.get(name), str):
                raise ValueError(f"{name} must be a text, not {config.get(name)!r}")
        return config

    def stat(self, metric: str, stat: str) -> float | None:
        """One number of a metric; None if the run lacks it."""
        found = self.metrics.get(metric)
        return None if found is None else found.stats.get(stat)

    @property
    def has_token_chunks(self) -> bool:
        """Whether every chunk of a stream held one token, so that `icl` is `itl` again."""
        icl, itl = self.metrics.get("icl"), self.metrics.get("itl")
        return icl is not None and itl is not None and icl.stats == itl.stats


def json_schema() -> dict[str, Any]:
    """The JSON Schema of `result.json`."""
    return Result.model_json_schema()
