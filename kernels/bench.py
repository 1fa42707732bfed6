"""How long implementations take for the same calls, taking turns, against the least possible.

What a step reads from memory (weights, the KV cache) is rotated through copies that together
exceed the last-level cache, so that no call finds what the last one left: `cold`. Activations have
just been written when an operation reads them: `warm`, and their floor is the cache's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from statistics import median
from typing import Any

import torch

from .dispatch import Implementation
from .errors import KernelError
from .rates import Rates, seconds
from .specs.spec import Call, Draw, ModelShape, OpSpec, StepShape, Work

# Long enough for a clock, short enough that all take their turn while the machine is the same.
TURN_S = 0.01
# So many that calls of 16 KiB, of which some take a millisecond to draw, exceed a cache of 32 MiB.
MOST_COPIES = 2048
LARGEST_SET_BYTES = 2**30
WARM_UPS = 2


@dataclass(frozen=True)
class Timing:
    """min_s, median_s: of one call, over turns. floor_s: the least, of measured rates.

    cold: read from memory, working_set_bytes in turn; else from cache. bound: by memory or
    arithmetic, at the floor. graph: replayed as a CUDA graph, so that no launch is counted.
    """

    op: str
    implementation: str
    model: str
    step: str
    case: str
    dtype: str
    min_s: float
    median_s: float
    floor_s: float
    bytes_moved: int
    flops: int
    bound: str
    cold: bool
    working_set_bytes: int
    graph: bool = False

    @property
    def of_floor(self) -> float:
        """The share of the machine's limit that is reached; 1 is all."""
        return self.floor_s / self.min_s


@dataclass(frozen=True)
class Refused:
    """An implementation that does not take the case, and why."""

    implementation: str
    case: str
    why: str


def bench(
    spec: OpSpec[Any],
    contenders: Sequence[Implementation],
    model: ModelShape,
    step: StepShape,
    dtype: torch.dtype,
    device: torch.device,
    rates: Rates,
    turns: int,
) -> Iterator[Timing | Refused]:
    """Each case of the operation in a model's step, by each implementation."""
    for name, case in spec.of_model(model, step).items():
        work = spec.work(case, dtype)
        cold, copies = _copies(spec, work, rates)
        calls = [spec.make(case, Draw(device, dtype, seed)) for seed in range(copies)]
        runners: dict[str, _Runner] = {}
        for one in contenders:
            try:
                runners[one.name] = _Runner(one, calls, device)
            except KernelError as error:
                yield Refused(one.name, name, str(error))
            except Exception as error:  # noqa: BLE001 -- the others are timed all the same
                why = f"raised {type(error).__name__}: {' '.join(str(error).split())}"
                yield Refused(one.name, name, why)
        taken = _take_turns(runners, turns)
        for implementation, times in taken.items():
            yield Timing(
                op=spec.op,
                implementation=implementation,
                model=model.name,
                step=step.label,
                case=name,
                dtype=str(dtype).removeprefix("torch."),
                min_s=min(times),
                median_s=median(times),
                floor_s=rates.floor_s(work, cold=cold),
                bytes_moved=work.bytes_moved,
                flops=work.flops,
                bound="memory" if rates.is_memory_bound(work, cold=cold) else "arithmetic",
                cold=cold,
                working_set_bytes=copies * work.bytes_moved,
                graph=runners[implementation].graph is not None,
            )


class _Runner:
    """One implementation with its weights prepared, ready to compute the copies in turn."""

    def __init__(self, one: Implementation, calls: Sequence[Call], device: torch.device) -> None:
        self._device = device
        bound = [_bound(one, call) for call in calls]
        self._next = cycle(bound)
        with torch.inference_mode():
            # On a GPU all: what a batch copies to the device must lie there before a capture.
            for call in bound if device.type == "cuda" else bound[:WARM_UPS]:
                call()
            once_s = max(seconds(device, lambda: next(self._next)()), 1e-7)
            # Whole rounds, so that every copy is read equally often.
            rounds = max(1, round(TURN_S / (once_s * len(bound))))
            self.repeats = rounds * len(bound) if len(bound) * once_s < TURN_S else len(bound)
            self.repeats = min(self.repeats, max(1, round(4 * TURN_S / once_s)))
            whole = max(self.repeats, len(bound))
            self.graph = _captured(bound, whole) if device.type == "cuda" else None
            if self.graph is not None:
                # A replay starts over: fewer than all copies would be found in the cache.
                self.repeats = whole

    def turn_s(self) -> float:
        """Seconds of a call."""
        with torch.inference_mode():
            if self.graph is not None:
                return seconds(self._device, self.graph.replay) / self.repeats
            return seconds(self._device, lambda: next(self._next)(), self.repeats) / self.repeats


def _bound(one: Implementation, call: Call) -> Callable[[], object]:
    taken = call.arguments if call.weights is None else call.weights
    if one.takes is not None and not one.takes(*taken):
        raise KernelError("takes= says no")
    function = call.prepared(one.function)
    return lambda: function(*call.arguments)


def _captured(calls: Sequence[Callable[[], object]], repeats: int) -> torch.cuda.CUDAGraph | None:
    """The calls as one graph; None for code that asks the host along the way."""
    if any(map(_waits, calls)):
        return None
    graph = torch.cuda.CUDAGraph()
    turn = cycle(calls)
    try:
        # A capture that fails leaves its stream the current one; the outer block undoes that.
        with torch.cuda.stream(torch.cuda.current_stream()), torch.cuda.graph(graph):
            for _ in range(repeats):
                next(turn)()
    except RuntimeError:
        torch.cuda.synchronize()
        return None
    graph.replay()
    return graph


def _waits(call: Callable[[], object]) -> bool:
    """Whether it waits for the device. Found without a capture, for one that fails leaves PyTorch's
    random numbers and its allocator in the midst of it: whatever draws next would raise."""
    mode = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        call()
    except RuntimeError:
        return True
    finally:
        torch.cuda.set_sync_debug_mode(mode)
    return False


def _take_turns(runners: dict[str, _Runner], turns: int) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in runners}
    for _ in range(turns):
        for name, runner in runners.items():
            times[name].append(runner.turn_s())
    return times


def _copies(spec: OpSpec[Any], work: Work, rates: Rates) -> tuple[bool, int]:
    """Whether calls read memory, and how many copies of the inputs make that so."""
    if not spec.reads_memory:
        return False, 1
    wanted = -(-2 * rates.cache_bytes // max(work.bytes_moved, 1))
    room = max(1, LARGEST_SET_BYTES // max(work.bytes_moved, 1))
    copies = max(1, min(wanted, room, MOST_COPIES))
    return copies * work.bytes_moved > rates.cache_bytes, copies
