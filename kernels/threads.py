"""How the threads of PyTorch's OpenMP runtime wait for each other: for a moment, and then asleep.

Left alone, GNU's runtime spins some milliseconds wherever threads meet, and lets nobody else on to
the processor meanwhile, not even the thread that is awaited. On a machine where anything else runs
(a server's event loop, a client, a browser) steps took 2 to 50 times as long; on a quiet one they
take the same either way (docs/decisions.md). The runtime reads its variables once, when PyTorch
loads it, so each package that needs PyTorch calls `wait_briefly` before any of its modules does.
"""

from __future__ import annotations

import os
import sys

VARIABLE = "GOMP_SPINCOUNT"
# By these a user says how threads wait.
VARIABLES = (VARIABLE, "OMP_WAIT_POLICY")
# Some 20 µs: longer than between two products of a step, shorter than anybody's time slice.
_SPINS = "1000"

_set_here = False


def wait_briefly() -> None:
    """Unless the environment says how threads wait, or it is too late to say so."""
    global _set_here
    if "torch" not in sys.modules and not any(name in os.environ for name in VARIABLES):
        os.environ[VARIABLE] = _SPINS
        _set_here = True


def outside_environment() -> dict[str, str]:
    """The environment as it was found, for programs that shall wait as they do by themselves."""
    if not _set_here:
        return dict(os.environ)
    return {name: value for name, value in os.environ.items() if name != VARIABLE}
