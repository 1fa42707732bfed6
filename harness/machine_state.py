"""Who else had the processors while a run was measured: other machines, other processes.

Read before and after; the difference is judged. Source: proc(5) for /proc/stat, whose `steal` is
the time that a hypervisor gave to others.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from .environment import text_of
from .result import Check

# Shares of the processor time that a run had.
MOST_STOLEN = 0.05
MOST_OTHERS = 0.10
OFF_BY_MORE = "times may be off by far more than that share, for threads wait for each other"
_IDLE, _IOWAIT, _STEAL, _GUEST = 3, 4, 7, 8


@dataclass(frozen=True)
class Processors:
    """Counters that only rise; None where the machine does not have them.

    time_s: of a clock. busy_s, stolen_s: of all processors. own_s: of this process and of all that
    it started, ended or not: a library's engine may compute in a process of its own.
    """

    time_s: float
    cores: int
    busy_s: float | None
    stolen_s: float | None
    own_s: float


def read_processors(stat: Path = Path("/proc/stat")) -> Processors:
    """The counters now."""
    busy_s, stolen_s = _counted(text_of(stat))
    return Processors(time.monotonic(), os.cpu_count() or 1, busy_s, stolen_s, _own_s())


def check_alone(before: Processors, after: Processors, *, threads: int | None = None) -> Check:
    """A caution, not a verdict: the numbers are what they are, but not of the machine alone.
    threads: that computed, if it is known."""
    had_s = max(after.time_s - before.time_s, 1e-9) * after.cores
    stolen = _rise(before.stolen_s, after.stolen_s) / had_s
    own_s = after.own_s - before.own_s
    others = max(0.0, _rise(before.busy_s, after.busy_s) - own_s) / had_s
    found: list[str] = []
    if stolen > MOST_STOLEN:
        found.append(f"{stolen:.0%} of the processor time went to other machines of the host")
    if others > MOST_OTHERS:
        found.append(f"other processes used {others:.0%} of the processor time")
    # Of the two shares, the one that is the larger part of what it may be.
    value, limit = max(
        (stolen, MOST_STOLEN), (others, MOST_OTHERS), key=lambda share: share[0] / share[1]
    )
    quiet = f"other machines of the host had {stolen:.1%} of the processors, others here "
    return Check(
        id="machine",
        ok=not found,
        fatal=False,
        value=value,
        limit=limit,
        detail="; ".join(found) or f"{quiet}{others:.1%}",
        advice=_advice(after.cores, threads) if found else "",
    )


def _advice(cores: int, threads: int | None) -> str:
    """Half of the processors makes a run of as many threads as cores up to thirty times as long,
    not twice: all threads of a step wait for the one that has no core."""
    turns = "compare in turns (llmbench ab)"
    if threads == 1:
        return f"times may be off by more than that share; {turns}"
    if cores == 1 or (threads is not None and threads < cores):
        return f"{OFF_BY_MORE}; {turns}"
    return f"{OFF_BY_MORE}; give --threads below the {cores} cores of this machine, or {turns}"


def _own_s() -> float:
    """Processor time of this process and its descendants. An ended child's is its parent's once it
    was waited for, so it counts once, alive and afterwards."""
    import psutil

    this = psutil.Process()
    spent = [this.cpu_times()]
    for child in this.children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # it ended since it was listed
            spent.append(child.cpu_times())
    return sum(one.user + one.system + one.children_user + one.children_system for one in spent)


def _rise(before: float | None, after: float | None) -> float:
    return 0.0 if before is None or after is None else after - before


def _counted(stat: str) -> tuple[float | None, float | None]:
    """(busy, stolen) seconds of all processors."""
    line = next((line for line in stat.splitlines() if line.startswith("cpu ")), None)
    if line is None:
        return None, None
    ticks = [int(word) for word in line.split()[1:]]
    each = os.sysconf("SC_CLK_TCK")
    waited = ticks[_IDLE] + ticks[_IOWAIT] + ticks[_STEAL]
    # Guests are counted in user time, too.
    return (sum(ticks[:_GUEST]) - waited) / each, ticks[_STEAL] / each
