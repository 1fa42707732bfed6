"""The client that asked a server: how busy it was, and how far off its times are."""

from __future__ import annotations

from pydantic import Field

from .base import ResultPart


class ClientLoad(ResultPart):
    """How busy the client was while it measured."""

    processes: int
    connections: int
    loop_lag_p50_s: float = Field(
        description="Of a heartbeat every 10 ms, those included that a stall swallowed; of the "
        "worst process."
    )
    loop_lag_p99_s: float
    loop_lag_max_s: float
    cpu_share: float = Field(description="Of one core; of the busiest process.")
    send_lag_p99_s: float = Field(description="p99 of send - due.")


class ErrorOf(ResultPart):
    """How far a latency as the client sees it is from the truth, in seconds."""

    p50_s: float = Field(description="Median of |seen - true|.")
    p99_s: float
    bias_s: float = Field(description="Mean of seen - true.")


class ClientError(ResultPart):
    """The client's own error at about this load, as `llmbench calibrate-client` measured it."""

    chunks_per_s: float = Field(description="The load it was measured at.")
    requests_per_s: float
    streams: int
    ttft: ErrorOf
    itl: ErrorOf
    e2el: ErrorOf
    measured_at: str
    beyond: bool = Field(
        False, description="The run was a larger load than any that was calibrated."
    )
    widened: bool = Field(
        default=False,
        description="A p99_s is the lag of the client's loop in this run, which was more than the "
        "calibrated error.",
    )
