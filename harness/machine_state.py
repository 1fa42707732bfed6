"""What a machine did to a run: processor time not given, clocks lowered, other work done.

Read before and after; the difference is judged. Sources: proc(5) for /proc/stat (`steal` is what a
hypervisor gave to others); the kernel's cgroup-v2 for `cpu.stat`; its thermal throttling counters
under /sys/devices/system/cpu; NVIDIA's `clocks_event_reasons` for GPUs.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from .result import Check

# Shares of the processor time that a run had.
MOST_STOLEN = 0.05
MOST_OTHERS = 0.10
_STEAL, _IDLE, _IOWAIT, _GUEST = 7, 3, 4, 8
_SLOWED = ("hw_slowdown", "hw_thermal_slowdown", "sw_thermal_slowdown", "hw_power_brake_slowdown")


@dataclass(frozen=True)
class MachineState:
    """Counters that only rise; None where the machine does not have them.

    time_s: of a clock. busy_s, stolen_s: of all processors. own_s: of this process and its ended
    children. limited_s: that the cgroup's quota held its processes back. hot_s: that cores were
    slowed by heat. slow_gpus: why GPUs are slowed at this moment.
    """

    time_s: float
    cores: int
    busy_s: float | None
    stolen_s: float | None
    own_s: float
    limited_s: float | None
    hot_s: float | None
    slow_gpus: tuple[str, ...] = ()


def read_machine(root: Path = Path("/")) -> MachineState:
    """The counters now. root: where /proc and /sys are."""
    busy_s, stolen_s = _processors(root / "proc/stat")
    spent = os.times()
    return MachineState(
        time.monotonic(),
        os.cpu_count() or 1,
        busy_s,
        stolen_s,
        spent.user + spent.system + spent.children_user + spent.children_system,
        _limited_s(root / "sys/fs/cgroup/cpu.stat"),
        _hot_s(root / "sys/devices/system/cpu"),
        _slow_gpus(),
    )


def check_machine(before: MachineState, after: MachineState, *, alone: bool) -> Check:
    """A caution, not a verdict: the numbers are what they are, but not of the machine alone.

    alone: whether the run was meant to have the machine; a server beside the client is not.
    """
    wall_s = max(after.time_s - before.time_s, 1e-9)
    share = 1 / (wall_s * after.cores)
    found: list[str] = []
    stolen = _rise(before.stolen_s, after.stolen_s) * share
    if stolen > MOST_STOLEN:
        found.append(f"{stolen:.0%} of the processor time went to other machines of the host")
    limited_s = _rise(before.limited_s, after.limited_s)
    if limited_s > MOST_STOLEN * wall_s:
        found.append(f"the CPU quota held the run back for {limited_s:.1f} s")
    if (hot_s := _rise(before.hot_s, after.hot_s)) > 0:
        found.append(f"cores were slowed by heat for {hot_s:.1f} s")
    own_s = after.own_s - before.own_s
    others = (_rise(before.busy_s, after.busy_s) - own_s) * share
    if alone and others > MOST_OTHERS:
        found.append(f"other processes used {others:.0%} of the processor time")
    if slow := sorted({*before.slow_gpus, *after.slow_gpus}):
        found.append(f"GPUs were slowed: {', '.join(slow)}")
    return Check(
        id="machine",
        ok=not found,
        fatal=False,
        value=stolen,
        limit=MOST_STOLEN,
        detail="; ".join(found) or "the machine gave the run what it has, as far as it says",
    )


def _rise(before: float | None, after: float | None) -> float:
    return 0.0 if before is None or after is None else after - before


def _processors(stat: Path) -> tuple[float | None, float | None]:
    """(busy, stolen) seconds of all processors."""
    line = next((line for line in _lines(stat) if line.startswith("cpu ")), None)
    if line is None:
        return None, None
    ticks = [int(word) for word in line.split()[1:]]
    each = os.sysconf("SC_CLK_TCK")
    # Guests are counted in user time, too.
    waited = ticks[_IDLE] + ticks[_IOWAIT] + ticks[_STEAL]
    return (sum(ticks[:_GUEST]) - waited) / each, ticks[_STEAL] / each


def _limited_s(stat: Path) -> float | None:
    for line in _lines(stat):
        name, _, value = line.partition(" ")
        if name == "throttled_usec":
            return int(value) / 1e6
    return None


def _hot_s(cpus: Path) -> float | None:
    files = sorted(cpus.glob("cpu[0-9]*/thermal_throttle/core_throttle_total_time_ms"))
    values = [int(line) for file in files for line in _lines(file)]
    return sum(values) / 1e3 if values else None


def _slow_gpus() -> tuple[str, ...]:
    """Reasons for which NVIDIA's GPUs run below their clocks; empty without any."""
    if shutil.which("nvidia-smi") is None:
        return ()
    fields = ",".join(f"clocks_event_reasons.{name}" for name in _SLOWED)
    command = ["nvidia-smi", f"--query-gpu=index,{fields}", "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    return slowed(done.stdout) if done.returncode == 0 else ()


def slowed(csv: str) -> tuple[str, ...]:
    """`GPU 0 hw_thermal_slowdown` for each reason that is active in nvidia-smi's answer."""
    return tuple(
        f"GPU {index} {reason}"
        for index, *states in (
            [word.strip() for word in line.split(",")] for line in csv.splitlines() if line.strip()
        )
        for reason, state in zip(_SLOWED, states, strict=False)
        if state == "Active"
    )


def _lines(path: Path) -> Iterable[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return ()  # not every machine has every counter
