"""Cores that the engine has to itself: what reads requests and writes tokens stays off them.

The system puts a process that is woken where it likes, and a step of a small model loses what is
put beside it: docs/serving.md has what that comes to. It is asked for (`--own-cores`), because two
servers on one machine would choose the same cores. vLLM's counterpart for a CPU is
`VLLM_CPU_OMP_THREADS_BIND`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from ...engines.errors import ConfigError
from ...kernels.control_groups import text_of


class Cores(NamedTuple):
    """engine, rest: logical processors as the system counts them, called cores where nobody looks
    inside; neither is empty, and no physical core has one of each."""

    engine: tuple[int, ...]
    rest: tuple[int, ...]


def part(
    usable: Iterable[int],
    threads: int | None,
    physical_of: Callable[[int], object] = lambda core: core,
) -> Cores | None:
    """A physical core for each of the engine's threads, the first ones; None if they leave none to
    the rest, or are as many as torch likes. physical_of: which physical core one is part of."""
    physical: dict[object, list[int]] = {}
    for core in sorted(usable):
        physical.setdefault(physical_of(core), []).append(core)
    each = list(physical.values())
    if threads is None or not 0 < threads < len(each):
        return None
    rest = sorted(core for cores in each[threads:] for core in cores)
    return Cores(tuple(cores[0] for cores in each[:threads]), tuple(rest))


def check_own_cores(threads: int | None) -> None:
    """Raises ConfigError where this machine has none to part."""
    if part(usable_cores(), threads, physical_core) is None:
        most = len({physical_core(core) for core in usable_cores()}) - 1
        if most < 1:
            raise ConfigError("own_cores", True, "unset: there is one physical core here")
        allowed = f"1 to {most} with --own-cores: the server needs a physical core, too"
        raise ConfigError("threads", threads, allowed)


def usable_cores() -> frozenset[int]:
    return frozenset(os.sched_getaffinity(0))


def physical_core(core: int) -> str:
    """Those of one physical core have one name; where the system does not tell, each is one."""
    path = Path(f"/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list")
    return text_of(path).strip() or str(core)


def keep_to(cores: Iterable[int], thread: int = 0) -> None:
    """This thread, and those that it starts from now on; or one by the system's number."""
    os.sched_setaffinity(thread, cores)


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
