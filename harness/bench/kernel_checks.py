"""Checks of kernels in several processes: on a GPU nearly all of the time goes to compiling, one
kernel after the other, and a kernel that is wrong enough takes its process with it.

A kernel that touches an address it must not ends what its process can do with the device, and a
compiler may end the process itself. That is the verdict of the case that did it; what comes behind
is checked by a fresh process.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from queue import SimpleQueue

import torch

from ...kernels.check import Trial, Verdict, check_case
from ...kernels.choices import resolve_choices
from ...kernels.registry import implementations
from ...kernels.specs.table import spec_of

# Small enough that all processes end together.
CASES_AT_A_TIME = 6


@dataclass(frozen=True)
class Portion:
    """Some cases of one trial, in words that another process understands."""

    op: str
    implementation: str
    dtype: str
    device: str
    cases: tuple[str, ...]
    seed: int


def portions(trial: Trial, device: torch.device, seed: int) -> list[Portion]:
    """The trial's cases in order."""
    names, step = tuple(trial.cases), CASES_AT_A_TIME
    dtype = str(trial.dtype).removeprefix("torch.")
    whole = Portion(trial.spec.op, trial.implementation.name, dtype, str(device), names, seed)
    return [replace(whole, cases=names[at : at + step]) for at in range(0, len(names), step)]


def check_in_processes(
    trials: Sequence[Trial], device: torch.device, seed: int, kernels: Sequence[str], jobs: int
) -> Iterator[tuple[Trial, list[Verdict]]]:
    """Each trial with its verdicts, in order, as soon as they are there.

    kernels: as they were asked for, `op=file.py` and such: every process reads them anew.
    """
    idle: SimpleQueue[_Process] = SimpleQueue()
    for _ in range(jobs):
        idle.put(_Process(tuple(kernels)))

    def checked(portion: Portion) -> list[Verdict]:
        process = idle.get()
        try:
            return process.check(portion)
        finally:
            idle.put(process)

    threads = ThreadPoolExecutor(jobs)
    try:
        parts = [
            [threads.submit(checked, one) for one in portions(trial, device, seed)]
            for trial in trials
        ]
        for trial, of_trial in zip(trials, parts, strict=True):
            yield trial, [verdict for part in of_trial for verdict in part.result()]
    finally:
        threads.shutdown(cancel_futures=True)
        for _ in range(jobs):
            idle.get().end()


class _Process:
    """One process that checks portions, replaced where a kernel has spoilt it."""

    def __init__(self, kernels: tuple[str, ...]) -> None:
        self._kernels = kernels
        self._pool: ProcessPoolExecutor | None = None

    def check(self, portion: Portion) -> list[Verdict]:
        verdicts: list[Verdict] = []
        while left := portion.cases[len(verdicts) :]:
            try:
                found, usable = (
                    self._started().submit(_checked, replace(portion, cases=left)).result()
                )
            except BrokenProcessPool:
                found, usable = self._one_by_one(replace(portion, cases=left)), False
            verdicts += found
            if not usable:
                self.end()
        return verdicts

    def end(self) -> None:
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None

    def _one_by_one(self, portion: Portion) -> list[Verdict]:
        """Which of the cases ends the process."""
        self.end()
        if len(portion.cases) > 1:
            alone = (replace(portion, cases=(case,)) for case in portion.cases)
            return [verdict for one in alone for verdict in self.check(one)]
        problem = "ended the process that computed it"
        of, seed = (portion.op, portion.implementation), portion.seed
        return [
            Verdict(*of, case, portion.dtype, portion.device, seed, float("inf"), problem)
            for case in portion.cases
        ]

    def _started(self) -> ProcessPoolExecutor:
        if self._pool is None:
            # Not forked: a process that has used a GPU cannot share it with its copies.
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(1, context, resolve_choices, (self._kernels,))
        return self._pool


def _checked(portion: Portion) -> tuple[list[Verdict], bool]:
    """The cases up to the first that takes the device away, and whether it is still there."""
    spec, device = spec_of(portion.op), torch.device(portion.device)
    dtype = getattr(torch, portion.dtype)
    one = next(one for one in implementations(portion.op) if one.name == portion.implementation)
    verdicts: list[Verdict] = []
    for name in portion.cases:
        verdicts.append(check_case(one, spec, name, spec.cases[name], dtype, device, portion.seed))
        if not _usable(device):
            return verdicts, False
    return verdicts, True


def _usable(device: torch.device) -> bool:
    """Whether the device still computes."""
    if device.type != "cuda":
        return True
    try:
        torch.cuda.synchronize(device)
    except RuntimeError:
        return False
    return True
