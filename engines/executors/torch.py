"""Computes a step with the real model on one device.

A plan is read into `work.py`, its inputs laid out for one of three kinds of pass (`passes.py`), and
carried out by what runs on this device: `computed.py` on a CPU, `launched.py` on a GPU.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from time import perf_counter

import torch
from torch import Tensor

from ..kv.base import KVPlacement, Move
from ..models.decoder import Decoder
from ..models.kv_tensors import KVTensors
from ..sampling import Draw, choose
from ..step import StepPlan
from .base import Pending, StepResult
from .computed import Computing
from .graphs import DecodeGraphs
from .inputs import StepInputs, pack
from .launched import Launching, Readback
from .memory import explained
from .moves import carry_out
from .passes import OnDevice, OnHost, Passes, Replaying
from .staging import Staging
from .work import Runner, Work, draws_of


class TorchExecutor:
    """Packs a plan's tokens, runs the model once, samples where a request's tail is reached.

    On a CPU a step is computed when it is submitted, or beside its caller with `in_thread`. On a
    GPU it is launched, and computed when its result is asked for at the latest.
    """

    def __init__(
        self,
        model: Decoder,
        cache: KVTensors,
        host: Sequence[Tensor] = (),
        *,
        in_thread: bool = False,
        graphs: DecodeGraphs | None = None,
        force: Mapping[str, str] | None = None,
    ) -> None:
        """host: of each of the cache's tensors, room on the host for what is swapped out.
        in_thread: one thread computes all steps, in order. graphs: of decode steps.
        force: operation -> implementation, for sampling."""
        device, on_gpu = model.device, model.device.type == "cuda"
        # Each thread has a current device of its own, and Triton launches there.
        self._here: AbstractContextManager[object] = (
            torch.cuda.device(device) if on_gpu else nullcontext()
        )
        self._device = device
        self._force = force
        staging = Staging(device)
        self._packed = OnDevice(model, cache, staging)
        self._passes: Passes = self._packed if on_gpu else OnHost(model, cache)
        if graphs is not None:
            self._passes = Replaying(graphs, staging, self._packed)
        move = partial(carry_out, cache=cache.tensors, host=host)
        self._runner: Runner
        if on_gpu:
            readback = Readback(device)
            self._runner = Launching(device, move, force, here=self._here, readback=readback)
        else:
            self._runner = Computing(device, move, force, in_thread=in_thread)

    def execute(self, plan: StepPlan, kv: KVPlacement, moves: Sequence[Move]) -> StepResult:
        return self.submit(plan, kv, moves).result()

    def submit(self, plan: StepPlan, kv: KVPlacement, moves: Sequence[Move]) -> Pending:
        with self._here:
            return self._runner.start(self._prepare(plan, kv, moves))

    def why_synchronous(self, plan: StepPlan) -> str:
        reasons = {
            self._runner.why_waited_for(chunk.request.request.sampling)
            for chunk in plan.chunks
            if chunk.reaches_tail
        }
        return ", ".join(sorted(reasons - {""}))

    @torch.inference_mode()
    def warm_up(self, steps: Iterable[StepInputs], draws: Iterable[Draw]) -> None:
        """Compute what nobody asked for, while the cache is nobody's (`warm.py`). draws: each of
        the last step's first row."""
        logits: Tensor | None = None
        with self._here, explained("to compute the largest step", self._device):
            for inputs in steps:
                logits = self._packed.lay_out(inputs).logits(())
            for draw in draws:
                assert logits is not None
                choose(logits[:1], [draw], [0], self._force)
            if self._device.type == "cuda":
                torch.cuda.synchronize()

    def _prepare(self, plan: StepPlan, kv: KVPlacement, moves: Sequence[Move]) -> Work:
        start_s = perf_counter()
        if not plan.chunks:
            return Work(moves)
        laid_out = self._passes.lay_out(pack(plan, kv.layout(plan)))
        draws, draw_rows = draws_of(plan)
        return Work(moves, laid_out, draws, draw_rows, perf_counter() - start_s)
