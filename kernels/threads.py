"""How many threads PyTorch computes with where nobody says so, and how they wait for each other.

**How many.** A container that may use two of 64 processors is shown all of them, and PyTorch takes
a thread for each: what the container may use of a tenth of a second is gone in the first 3 ms of
it, and then nothing runs. So there are as many threads as the quota has whole processors.

**How they wait: for a moment, and then asleep.** Left alone, GNU's OpenMP runtime spins some
milliseconds wherever threads meet, and lets nobody else on to the processor meanwhile, not even the
thread that is awaited. On a machine where anything else runs (a server's event loop, a client, a
browser) steps took up to 20 times as long; on a quiet one the shortest gain 5 % by it
(docs/decisions.md).

The runtime reads its variables once, when PyTorch loads it, so `kernels` calls `arrange_threads`
when it is imported, and the other packages that need PyTorch import it before any of their modules
loads that.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from .control_groups import MOUNT, cpu_quota

COUNT = "OMP_NUM_THREADS"
SPINS = "GOMP_SPINCOUNT"
POLICY = "OMP_WAIT_POLICY"
# Some 20 µs: longer than between two products of a step, shorter than anybody's time slice.
_SPINS = 1000

_arranged: set[str] = set()


def arrange_threads(cgroup: Path = MOUNT) -> None:
    """Set what the environment does not say, unless PyTorch is there and it is too late.

    cgroup: where Linux mounts its control groups.
    """
    if "torch" in sys.modules:
        return
    if SPINS not in os.environ and POLICY not in os.environ:
        _arrange(SPINS, _SPINS)
    limit = cpu_quota(cgroup)
    if COUNT not in os.environ and limit is not None and limit < len(os.sched_getaffinity(0)):
        _arrange(COUNT, max(1, int(limit)))


def _arrange(name: str, value: int) -> None:
    os.environ[name] = str(value)
    _arranged.add(name)


def outside_environment() -> dict[str, str]:
    """The environment as it was found, for programs that shall run as they do by themselves."""
    return {name: value for name, value in os.environ.items() if name not in _arranged}
