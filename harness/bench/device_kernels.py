"""Which of a GPU's kernels a step's time goes to, as PyTorch's profiler sees them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from .cases import Case, Serving, Sized, steps_together

PROFILED_STEPS = 8


@dataclass(frozen=True)
class KernelTime:
    """calls, seconds: of the device, a decode step, or a prompt."""

    name: str
    calls: float
    seconds: float


class DeviceEvent(Protocol):
    """One launch, as the profiler has it. device_time: microseconds."""

    @property
    def name(self) -> str: ...
    @property
    def device_time(self) -> float: ...


# Runs something and says what the device did meanwhile, all of it and nothing from before.
Record = Callable[[Callable[[], None]], Iterable[DeviceEvent]]


def record_on_gpu(run: Callable[[], None]) -> list[DeviceEvent]:
    import torch
    from torch.profiler import ProfilerActivity, profile

    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        run()
        torch.cuda.synchronize()
    return [event for event in profiler.events() or () if event.device_type.name == "CUDA"]


def kernels_of(
    core: Sized, case: Case, prompts: Sequence[tuple[int, ...]], record: Record
) -> tuple[KernelTime, ...]:
    """Of a decode step once all sequences decode, or of a whole prompt; the longest first. core: an
    engine that has met the case before, so that nothing is compiled."""
    serving = Serving(core, case, prompts)
    if case.phase == "prefill":
        return kernel_times(record(serving.to_its_end), 1)
    while not (serving.traces and steps_together(serving.traces, case)):
        serving.step()

    # A call of `step` launches a step, also where it answers for the one before.
    def some_steps() -> None:
        for _ in range(PROFILED_STEPS):
            serving.step()

    found = kernel_times(record(some_steps), PROFILED_STEPS)
    serving.to_its_end()
    return found


def kernel_times(events: Iterable[DeviceEvent], turns: int) -> tuple[KernelTime, ...]:
    """Launches of `turns` alike, together by name."""
    calls: dict[str, int] = {}
    microseconds: dict[str, float] = {}
    for event in events:
        calls[event.name] = calls.get(event.name, 0) + 1
        microseconds[event.name] = microseconds.get(event.name, 0.0) + event.device_time
    longest_first = sorted(microseconds, key=lambda name: -microseconds[name])
    return tuple(
        KernelTime(name, calls[name] / turns, microseconds[name] / 1e6 / turns)
        for name in longest_first
    )
