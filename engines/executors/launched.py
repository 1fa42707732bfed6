"""A step that was launched on a GPU, and how its tokens come back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from time import perf_counter

import torch
from torch import Tensor

from ..sampling import Sampled
from .base import ForwardTimes, StepResult
from .memory import explained

# A buffer is read while the next step's is written.
_TURNS = 2


class Readback:
    """Pinned host buffers for sampled tokens; they take turns, one a step."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._buffers = [_pinned_ids(256) for _ in range(_TURNS)]
        self._turn = 0

    def mark(self) -> torch.cuda.Event:
        """A moment of the device's stream, with its time."""
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self._device))
        return event

    def copy(self, tokens: Tensor) -> Tensor:
        """int64 [n] on the device -> the same on the host, true once the stream has come that far,
        and until it is written again two steps later."""
        self._turn = (self._turn + 1) % len(self._buffers)
        if len(self._buffers[self._turn]) < len(tokens):
            self._buffers[self._turn] = _pinned_ids(2 * len(tokens))
        return self._buffers[self._turn][: len(tokens)].copy_(tokens, non_blocking=True)


def _pinned_ids(room: int) -> Tensor:
    return torch.empty(room, dtype=torch.int64, pin_memory=True)


@dataclass(frozen=True)
class LaunchedStep:
    """begin, end: on the device's stream, and moved behind its moves, if it swaps. times: the
    host's, so far.

    tokens: the samples in a host buffer, once `end` is reached. draw: chooses them on the host
    instead. Neither: the step samples nothing.
    """

    begin: torch.cuda.Event
    end: torch.cuda.Event
    times: ForwardTimes
    tokens: Tensor | None
    draw: Callable[[], Sequence[Sampled]] | None
    moved: torch.cuda.Event | None = None
    replayed: bool = False

    @torch.inference_mode()
    def result(self) -> StepResult:
        """Waits for the device, the one time of a step."""
        wait_s = perf_counter()
        self.end.synchronize()
        sampled: Sequence[Sampled] = ()
        if self.draw is not None:
            with explained("to sample", torch.device("cuda")):
                sampled = self.draw()
        token_ids = [one.token_id for one in sampled]
        if self.tokens is not None:
            token_ids = self.tokens.tolist()
        waited_s = perf_counter() - wait_s
        # Of the wait, what the device took to swap.
        swap_s = self.begin.elapsed_time(self.moved) / 1e3 if self.moved is not None else 0.0
        swap_s = min(swap_s, waited_s)
        return StepResult(
            token_ids,
            replace(
                self.times,
                sample_s=waited_s - swap_s,
                swap_s=self.times.swap_s + swap_s,
            ),
            [one.logprobs for one in sampled],
            device_s=self.begin.elapsed_time(self.end) / 1e3,
            replayed=self.replayed,
        )
