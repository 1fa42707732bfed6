"""Who else had the processors while a run was measured: other machines, other processes.

Read before and after; the difference is judged. Source: proc(5) for /proc/stat, whose `steal` is
the time that a hypervisor gave to others.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ...kernels.control_groups import text_of
from ...reports.format import percent
from ..result import Check

# Shares of the processor time that a run had.
MOST_STOLEN = 0.05
MOST_OTHERS = 0.10
OFF_BY_MORE = "times may be off by more than that share, for threads wait for each other"
_IDLE, _IOWAIT, _STEAL, _GUEST = 3, 4, 7, 8


@dataclass(frozen=True)
class Processors:
    """Counters that only rise; None where the machine does not have them.

    time_s: of a clock. busy_s, stolen_s: of all processors. own_s: of this process, of others that
    are a part of the run, and of all that they started, ended or not: a library's engine may
    compute in a process of its own.
    """

    time_s: float
    cores: int
    busy_s: float | None
    stolen_s: float | None
    own_s: float


@dataclass(frozen=True)
class Taken:
    """What others had between two readings, as shares of all processor time: other machines of the
    host, and processes here that are no part of the run."""

    stolen: float
    others: float

    @property
    def told(self) -> list[str]:
        """A phrase for each that is too much."""
        found: list[str] = []
        if self.stolen > MOST_STOLEN:
            found.append(
                f"{percent(self.stolen)} of the processor time went to other machines of the host"
            )
        if self.others > MOST_OTHERS:
            found.append(f"other processes used {percent(self.others)} of the processor time")
        return found

    @property
    def told_quiet(self) -> str:
        return (
            f"other machines of the host had {percent(self.stolen)} of the processors, others "
            f"here {percent(self.others)}"
        )

    def check(self, advice: str) -> Check:
        """A caution, not a verdict: the numbers are what they are, but not of the machine alone.
        advice: where it is too much."""
        # Of the two shares, the one that is the larger part of what it may be.
        value, limit = max(
            (self.stolen, MOST_STOLEN),
            (self.others, MOST_OTHERS),
            key=lambda share: share[0] / share[1],
        )
        return Check(
            id="machine",
            ok=not self.told,
            fatal=False,
            value=value,
            limit=limit,
            detail="; ".join(self.told) or self.told_quiet,
            advice=advice if self.told else "",
        )


def read_processors(
    stat: Path = Path("/proc/stat"), *, of_the_run: Iterable[int] = ()
) -> Processors:
    """The counters now. of_the_run: other processes that are a part of it, by id."""
    busy_s, stolen_s = _counted(text_of(stat))
    own_s = spent_s({os.getpid(), *of_the_run})
    return Processors(time.monotonic(), os.cpu_count() or 1, busy_s, stolen_s, own_s)


def taken(before: Processors, after: Processors) -> Taken:
    """Between two readings."""
    had_s = max(after.time_s - before.time_s, 1e-9) * after.cores
    others_s = _rise(before.busy_s, after.busy_s) - (after.own_s - before.own_s)
    return Taken(_rise(before.stolen_s, after.stolen_s) / had_s, max(0.0, others_s) / had_s)


def check_alone(before: Processors, after: Processors, *, threads: int | None = None) -> Check:
    """Whether a run in this process had the machine alone. threads: that computed, if known."""
    return taken(before, after).check(_advice(after.cores, threads))


def _advice(cores: int, threads: int | None) -> str:
    """With fewer threads than cores others may use the rest: no thread of a step then waits for one
    that has no core."""
    turns = "compare in turns (llmbench ab)"
    if threads == 1:
        return f"times may be off by more than that share; {turns}"
    if cores == 1 or (threads is not None and threads < cores):
        return f"{OFF_BY_MORE}; {turns}"
    return f"{OFF_BY_MORE}; give --threads below the {cores} cores of this machine, or {turns}"


def spent_s(processes: Iterable[int]) -> float:
    """Processor time of processes, by id, and of their descendants, each once. An ended child's is
    its parent's once it was waited for, so it counts once, alive and afterwards."""
    import psutil

    spent: dict[int, float] = {}
    for root in processes:
        with suppress(psutil.Error):  # it ended since it was listed
            for one in (this := psutil.Process(root), *this.children(recursive=True)):
                with suppress(psutil.Error):
                    of = one.cpu_times()
                    spent[one.pid] = of.user + of.system + of.children_user + of.children_system
    return sum(spent.values())


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
