"""Whether processors were slowed down while a run was measured: by heat, power or a quota.

The kernel and the driver count, and two readings say what happened between them. A limit that
always holds (a base clock, the power a card may draw) is a part of the machine; one that comes and
goes makes two halves of a run differ.

Sources: `cpu.stat` of Linux's control groups, version 2 and 1; the attributes `thermal_throttle` of
x86 processors in sysfs; NVML's counters of clock event reasons, as nvidia-smi prints them.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ...kernels.control_groups import MOUNT, OWN, control_groups, text_of
from ..result import Check
from .environment import output_of

# Of the run's time. One period of a quota in a long run moves no number.
THROTTLED_SHARE = 0.01
_CPUS = Path("/sys/devices/system/cpu")
_GPU_REASONS = ("sw_thermal_slowdown", "hw_thermal_slowdown", "hw_power_brake_slowdown")


@dataclass(frozen=True)
class Throttled:
    """Since the machine began, or between two readings; None where nothing counts it.

    quota_s: time that quotas of this process's control groups held it back, summed over cores.
    heat: how often a core's clock was lowered for its temperature. gpu_s: time that the clocks of
    GPUs were lowered for heat or by a power brake, summed.
    """

    quota_s: float | None = None
    heat: float | None = None
    gpu_s: float | None = None

    def since(self, before: Throttled) -> Throttled:
        """What happened after an earlier reading."""
        return Throttled(
            _rise(before.quota_s, self.quota_s),
            _rise(before.heat, self.heat),
            _rise(before.gpu_s, self.gpu_s),
        )


def read_throttled(cgroup: Path = MOUNT, cpus: Path = _CPUS, own: Path = OWN) -> Throttled:
    """As it stands now. cgroup, own: as `control_groups` takes them."""
    return Throttled(_quota_s(control_groups(cgroup, own)), _heat(cpus), _gpu_s())


def check_throttling(throttled: Throttled, duration_s: float) -> Check:
    """Numbers of a processor that was slowed down now and then are of no one processor."""
    told = [
        f"{what} {value:.2f} s"
        for what, value in (
            ("a quota held threads back for", throttled.quota_s),
            ("clocks of GPUs were lowered for", throttled.gpu_s),
        )
        if value is not None and value > THROTTLED_SHARE * duration_s
    ]
    if throttled.heat:
        told.append(f"cores were slowed for their temperature {throttled.heat:.0f} times")
    counted = [
        name
        for name, value in (
            ("a quota", throttled.quota_s),
            ("heat", throttled.heat),
            ("GPU clocks", throttled.gpu_s),
        )
        if value is not None
    ]
    quiet = f"nothing was throttled; counted here: {', '.join(counted) or 'nothing'}"
    return Check(
        id="throttling",
        ok=not told,
        fatal=False,
        value=max(throttled.quota_s or 0.0, throttled.gpu_s or 0.0),
        limit=THROTTLED_SHARE * duration_s,
        detail="; ".join(told) or quiet,
    )


def _rise(before: float | None, now: float | None) -> float | None:
    return None if before is None or now is None else now - before


def _quota_s(groups: Iterable[Path]) -> float | None:
    found = [_held_back_s(group) for group in groups]
    counted = [seconds for seconds in found if seconds is not None]
    return sum(counted) if counted else None


def _held_back_s(group: Path) -> float | None:
    """By the quota of one control group."""
    lines = text_of(group / "cpu.stat").splitlines()
    rows = dict(line.split() for line in lines if len(line.split()) == 2)
    for name, a_second in (("throttled_usec", 1e6), ("throttled_time", 1e9)):
        if name in rows:
            return int(rows[name]) / a_second
    return None


def _heat(cpus: Path) -> float | None:
    found = [text_of(one) for one in cpus.glob("cpu*/thermal_throttle/core_throttle_count")]
    return float(sum(int(one) for one in found if one.strip().isdigit())) if found else None


def _gpu_s() -> float | None:
    """None without a GPU, and of a driver that does not count."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    fields = ",".join(f"clocks_event_reasons_counters.{reason}" for reason in _GPU_REASONS)
    text = output_of([tool, f"--query-gpu={fields}", "--format=csv,noheader,nounits"])
    counts = [int(one) for one in (text or "").replace(",", " ").split() if one.isdigit()]
    return sum(counts) / 1e6 if counts else None
