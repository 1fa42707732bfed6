"""Steps that are launched on a GPU, which is behind, and how their tokens come back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from time import perf_counter

import torch
from torch import Tensor

from ..api import SamplingParams
from ..kv.base import Move
from ..sampling import Sampled, choose, sample, why_on_host
from ..trace import PhaseTimes
from .base import Pending, StepResult
from .memory import explained
from .passes import Samples
from .work import Work

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


class Launching:
    """Everything of a step that needs no answer from the device is done when `start` returns."""

    def __init__(
        self,
        device: torch.device,
        move: Callable[[Sequence[Move]], float],
        force: Mapping[str, str] | None,
        *,
        here: AbstractContextManager[object],
        readback: Readback,
    ) -> None:
        """move: hands moves to the device's stream, and says how many of the host's seconds went to
        those between them. force: operation -> implementation, for sampling. here: inside, the
        thread's current device is the model's."""
        self._device = device
        self._move = move
        self._force = force
        self._here = here
        self._readback = readback
        self._sampled: Samples = ()  # by the step launched last: int64 on the device

    @torch.inference_mode()
    def start(self, work: Work) -> Pending:
        launch_s = perf_counter()
        begin = self._readback.mark()
        tokens: Tensor | None = None
        draw: Callable[[], Sequence[Sampled]] | None = None
        with explained("to compute a step", self._device):
            swap_s = self._move(work.moves)
            moved = self._readback.mark() if swap_s else None
            if work.model_pass is not None:
                logits = work.model_pass.logits(self._sampled)
                if any(why_on_host(one.sampling) for one in work.draws):
                    draw = partial(self._drawn, logits, work)
                else:
                    tokens = self._chosen(logits, work)
        times = PhaseTimes(
            prepare_s=work.prepare_s,
            linear_s=perf_counter() - launch_s - swap_s,
            swap_s=swap_s,
        )
        return LaunchedStep(begin, self._readback.mark(), times, tokens, draw, moved, work.replayed)

    def why_waited_for(self, sampling: SamplingParams) -> str:
        """Whatever the host must choose: by then the next step would have to know it."""
        return why_on_host(sampling)

    def _chosen(self, logits: Tensor, work: Work) -> Tensor:
        """The samples, on their way to a host buffer."""
        chosen = choose(logits, work.draws, work.draw_rows, self._force)
        tokens = self._readback.copy(chosen)
        # Of logits without a distribution there is none, which is said when the tokens are read.
        # The step that is launched before that must read some token's embedding.
        self._sampled = chosen.clamp_min(0)
        return tokens

    def _drawn(self, logits: Tensor, work: Work) -> list[Sampled]:
        """Of a step that was launched, once it is done."""
        with self._here, explained("to sample", self._device):
            return sample(logits, work.draws, work.draw_rows, self._force)


@dataclass(frozen=True)
class LaunchedStep:
    """begin, end: on the device's stream, and moved behind its moves, if it swaps. times: the
    host's, so far.

    tokens: the samples in a host buffer, once `end` is reached. draw: chooses them on the host
    instead. Neither: the step samples nothing.
    """

    begin: torch.cuda.Event
    end: torch.cuda.Event
    times: PhaseTimes
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
