"""Cores that the engine has to itself: what reads requests and writes tokens stays off them.

The system puts a process that is woken where it likes, and a step of a small model loses what is
put beside it: docs/serving.md has what that comes to. vLLM's counterpart for a CPU is
`VLLM_CPU_OMP_THREADS_BIND`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import NamedTuple


class Cores(NamedTuple):
    """engine, rest: numbers of cores as the system counts them; neither is empty."""

    engine: tuple[int, ...]
    rest: tuple[int, ...]


def part(usable: Iterable[int], threads: int | None) -> Cores | None:
    """The first cores for the engine's threads; None if they leave none to the rest, or are as many
    as torch likes."""
    cores = tuple(sorted(usable))
    if threads is None or not 0 < threads < len(cores):
        return None
    return Cores(cores[:threads], cores[threads:])


def usable_cores() -> frozenset[int]:
    """Empty where a system does not tell (macOS)."""
    return frozenset(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else frozenset()


def keep_to(cores: Iterable[int]) -> None:
    """This thread, and those that it starts from now on."""
    os.sched_setaffinity(0, cores)


def counted(cores: tuple[int, ...]) -> str:
    """`core 0`, or `cores 0-3, 8`."""
    runs: list[list[int]] = []
    for core in cores:
        if runs and core == runs[-1][-1] + 1:
            runs[-1].append(core)
        else:
            runs.append([core])
    spans = ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
    return f"core{'s' if len(cores) > 1 else ''} {spans}"
