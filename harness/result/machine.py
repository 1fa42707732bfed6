"""What the machine was, held and drew; of a simulated one, what its step times stand on."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from .base import ResultPart


class Memory(ResultPart):
    """weight_bytes: what one decode step reads of the weights for all logits. kv_bytes: the KV
    pool. peak_rss_bytes: the process while serving, none of a simulation; peak_device_bytes: the
    accelerator, if any."""

    weight_bytes: int
    kv_bytes: int
    peak_rss_bytes: int | None
    peak_device_bytes: int | None = None


class Peaks(ResultPart):
    """What one device does at most, which `mfu` and `mbu` are shares of."""

    bytes_per_s: float = Field(description="Of its memory.")
    flops_per_s: float = Field(description="Dense, in `dtype`.")
    dtype: str = Field(description="What the linear maps multiply in: bf16, int8, fp8, …")
    source: str = Field(description="A datasheet, or a measurement and when.")


class Energy(ResultPart):
    """What the device drew while the run was measured, idle power included.

    source: NVML (a GPU's whole board) or RAPL (a CPU's packages and their memory, other processes'
    share included). duration_s: between the two readings.
    """

    source: str
    joules_by_domain: dict[str, float]
    duration_s: float

    @property
    def joules(self) -> float:
        return sum(self.joules_by_domain.values())


class Simulation(ResultPart):
    """What a simulated run stands on: whose step times, and how far they can be trusted."""

    hardware: str
    devices: int
    cost_model: Literal["roofline", "calibrated"]
    efficiency: dict[str, float] = Field(
        default_factory=dict, description="Share of the peak each phase is taken to reach."
    )
    step_error: dict[str, dict[str, float]] = Field(
        default_factory=dict,
        description="Of the calibration, on steps it was not fitted to: by phase, median and p90 "
        "of |predicted / measured - 1|, and bias.",
    )
    run_error: dict[str, float] = Field(
        default_factory=dict,
        description="predicted / measured - 1 of a whole run's means, by metric, on a run that the "
        "calibration has not seen.",
    )
    extrapolated_steps: int = Field(
        default=0, description="Steps larger than any that was calibrated on."
    )
    error: str = Field(description="How wrong it may be, in words.")
