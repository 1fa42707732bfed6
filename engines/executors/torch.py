"""Computes a step with the real model on one device."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from time import perf_counter

import torch
from torch import Tensor

from ...kernels.batch import AttentionBatch, ContiguousBatch, PagedBatch
from ...kernels.device_lengths import DeviceLengths
from ..kv.base import KVPlacement, Move
from ..models.decoder import AttentionTimer, Decoder
from ..models.kv_tensors import KVTensors
from ..sampling import PENALTIES, Draw, Sampled, choose, sample, why_on_host
from ..state import RequestState
from ..step import StepPlan
from .base import ForwardTimes, Pending, StepResult
from .graphs import DecodeGraphs
from .inputs import StepInputs, pack
from .launched import LaunchedStep, Readback
from .memory import explained
from .moves import allocate_host, carry_out
from .staging import Staging, form_of, host_tensors


@dataclass(frozen=True)
class _Work:
    """All that a step needs, read from its plan. inputs: None where the step only moves.

    tensors: the inputs where a model on the CPU reads them. packed: else, the inputs in a host
    buffer, as `form_of` them says or, with a bucket, as its graph reads them.
    """

    moves: Sequence[Move]
    inputs: StepInputs | None
    tensors: dict[str, Tensor]
    packed: Tensor | None
    bucket: int | None
    draws: list[Draw]
    draw_rows: list[int]
    prepare_s: float


@dataclass(frozen=True)
class _Done:
    """A step that was computed when it was submitted."""

    done: StepResult

    def result(self) -> StepResult:
        return self.done


class TorchExecutor:
    """Packs a plan's tokens, runs the model once, samples where a request's tail is reached.

    On a CPU a step is computed when it is submitted, or beside its caller with `in_thread`. On a
    GPU it is launched, and computed when its result is asked for at the latest.
    """

    def __init__(
        self,
        model: Decoder,
        cache: KVTensors,
        host_units: int = 0,
        *,
        in_thread: bool = False,
        graphs: DecodeGraphs | None = None,
        force: Mapping[str, str] | None = None,
    ) -> None:
        """host_units: room on the host for sequences that are swapped out, in the cache's units.
        in_thread: one thread computes all steps, in order. graphs: of decode steps.
        force: operation -> implementation, for sampling."""
        self._model = model
        self._cache = cache
        self._host = allocate_host(cache.tensors, host_units) if host_units else []
        self._staging = Staging(model.device)
        self._graphs = graphs
        self._force = force
        self._thread = ThreadPoolExecutor(1, "llmbench-step") if in_thread else None
        self._on_gpu = model.device.type == "cuda"
        # Each thread has a current device of its own, and Triton launches there.
        self._here = torch.cuda.device(model.device) if self._on_gpu else nullcontext()
        # The samples of the step computed or launched last; of the latter int64 on the device.
        self._sampled: Tensor | list[int] = []
        self._readback = Readback(model.device) if self._on_gpu else None

    def execute(self, plan: StepPlan, kv: KVPlacement, moves: Sequence[Move]) -> StepResult:
        return self.submit(plan, kv, moves).result()

    def submit(self, plan: StepPlan, kv: KVPlacement, moves: Sequence[Move]) -> Pending:
        with self._here:
            work = self._prepare(plan, kv, moves)
            if self._thread is not None:
                return self._thread.submit(self._compute, work)
            return self._launch(work) if self._on_gpu else _Done(self._compute(work))

    def why_synchronous(self, plan: StepPlan) -> str:
        """On a GPU every token that the host must choose; in a thread, which draws as it computes,
        those that depend on tokens that are not read yet."""
        reasons = {
            reason
            for chunk in plan.chunks
            if chunk.reaches_tail
            and (reason := why_on_host(chunk.request.request.sampling))
            and (self._on_gpu or reason == PENALTIES)
        }
        return ", ".join(sorted(reasons))

    @torch.inference_mode()
    def warm_up(self, steps: Iterable[StepInputs], draws: Iterable[Draw]) -> None:
        """Compute what nobody asked for, while the cache is nobody's (`warm.py`). draws: each of
        the last step's first row."""
        logits = None
        with self._here, explained("to compute the largest step", self._model.device):
            for inputs in steps:
                packed = self._staging.write(form_of(inputs), inputs)
                work = _Work([], inputs, {}, packed, None, [], [], 0.0)
                logits = self._forward(work, None)
            for draw in draws:
                assert logits is not None
                choose(logits[:1], [draw], [0], self._force)
            if self._on_gpu:
                torch.cuda.synchronize()

    def _prepare(self, plan: StepPlan, kv: KVPlacement, moves: Sequence[Move]) -> _Work:
        start_s = perf_counter()
        if not plan.chunks:
            return _Work(moves, None, {}, None, None, [], [], 0.0)
        inputs = pack(plan, kv.layout(plan))
        draws, draw_rows = _draws(plan)
        if not self._on_gpu and self._graphs is None:
            tensors, prepare_s = host_tensors(inputs), perf_counter() - start_s
            return _Work(moves, inputs, tensors, None, None, draws, draw_rows, prepare_s)
        bucket = self._graphs.fitting(inputs) if self._graphs else None
        if self._graphs and bucket is not None:
            form, inputs = self._graphs.padded(inputs, bucket)
        else:
            form = form_of(inputs)
        packed = self._staging.write(form, inputs)
        prepare_s = perf_counter() - start_s
        return _Work(moves, inputs, {}, packed, bucket, draws, draw_rows, prepare_s)

    @torch.inference_mode()
    def _compute(self, work: _Work) -> StepResult:
        """The whole step, here and now, with the time of its parts."""
        start_s = perf_counter()
        swap_s = carry_out(work.moves, self._cache.tensors, self._host)
        timer = AttentionTimer()
        with explained("to compute a step", self._model.device):
            logits = self._forward(work, timer)
        if logits is None:
            return StepResult((), ForwardTimes(swap_s=swap_s))
        sample_s = perf_counter()
        sampled = sample(logits, work.draws, work.draw_rows, self._force) if work.draws else []
        token_ids = [one.token_id for one in sampled]
        # As where a step is launched.
        self._sampled = [max(0, token_id) for token_id in token_ids]
        return StepResult(
            token_ids,
            ForwardTimes(
                prepare_s=work.prepare_s,
                attention_s=timer.seconds,
                # Copies within the cache are the model's, which writes where they lie.
                linear_s=sample_s - start_s - swap_s - timer.seconds,
                sample_s=perf_counter() - sample_s,
                swap_s=swap_s,
            ),
            [one.logprobs for one in sampled],
            replayed=work.bucket is not None,
        )

    @torch.inference_mode()
    def _launch(self, work: _Work) -> Pending:
        """Everything that needs no answer from the device, which is behind when this returns."""
        assert self._readback is not None
        launch_s = perf_counter()
        begin = self._readback.mark()
        with explained("to compute a step", self._model.device):
            swap_s = carry_out(work.moves, self._cache.tensors, self._host)
            moved = self._readback.mark() if swap_s else None
            logits = self._forward(work, None)
            tokens, draw = None, None
            if logits is not None and any(why_on_host(one.sampling) for one in work.draws):
                draw = partial(self._drawn, logits, work)
            elif logits is not None:
                chosen = choose(logits, work.draws, work.draw_rows, self._force)
                tokens = self._readback.copy(chosen)
                # Of logits without a distribution there is none, which is said when the tokens are
                # read. The step that is launched before that must read some token's embedding.
                self._sampled = chosen.clamp_min(0)
        times = ForwardTimes(
            prepare_s=work.prepare_s,
            linear_s=perf_counter() - launch_s - swap_s,
            swap_s=swap_s,
        )
        replayed = work.bucket is not None
        return LaunchedStep(begin, self._readback.mark(), times, tokens, draw, moved, replayed)

    def _drawn(self, logits: Tensor, work: _Work) -> list[Sampled]:
        """Of a step that was launched, once it is done."""
        with self._here:
            return sample(logits, work.draws, work.draw_rows, self._force)

    def _forward(self, work: _Work, timer: AttentionTimer | None) -> Tensor | None:
        """Logits of the rows that are wanted, in order; None where nothing is computed."""
        inputs = work.inputs
        if inputs is None:
            return None
        if self._graphs and work.bucket is not None and work.packed is not None:
            self._graphs.put(work.bucket, inputs, work.packed, self._staging)
            self._put_awaited(self._graphs.views(work.bucket), inputs)
            return self._graphs.replay(work.bucket)[: len(inputs.logit_rows)]
        views = work.tensors
        if work.packed is not None:
            views = form_of(inputs).views(self._staging.to_device(work.packed))
        self._put_awaited(views, inputs)
        return self._model.forward(
            views["token_ids"],
            views["positions"],
            self._cache,
            _batch(inputs, views),
            views["slots"],
            views["logit_rows"],
            timer,
        )

    def _put_awaited(self, views: dict[str, Tensor], inputs: StepInputs) -> None:
        """Ids that the step before sampled, from where they are to where they are read."""
        count = len(inputs.awaited)
        if count:
            sampled = torch.as_tensor(self._sampled, dtype=torch.int64)
            ids = sampled.index_select(0, views["awaited_rows"][:count])
            views["token_ids"].index_copy_(0, views["awaited"][:count], ids)


def _batch(inputs: StepInputs, views: dict[str, Tensor]) -> AttentionBatch:
    query_lengths, kv_lengths = tuple(inputs.query_lengths), tuple(inputs.kv_lengths)
    on_device = None
    if "query_starts" in views:
        lengths = (views["query_starts"], views["kv_lengths"])
        on_device = DeviceLengths(*lengths, views.get("starts"))
    if inputs.tables:
        return PagedBatch(query_lengths, kv_lengths, views["tables"], on_device)
    return ContiguousBatch(query_lengths, kv_lengths, tuple(inputs.starts), on_device)


def _draws(plan: StepPlan) -> tuple[list[Draw], list[int]]:
    """A token for each sample of each sequence whose tail the step reaches, and the row of the
    logits that it is drawn from: samples that are not told apart yet share one."""
    ending = [chunk.request for chunk in plan.chunks if chunk.reaches_tail]
    pairs = [
        (_draw(request, request.choice + sample), row)
        for row, request in enumerate(ending)
        for sample in range(request.samples)
    ]
    return [draw for draw, _ in pairs], [row for _, row in pairs]


def _draw(request: RequestState, choice: int) -> Draw:
    """How the sample's next token is chosen."""
    sampling = request.request.sampling
    if not sampling.has_penalties:
        return Draw(sampling, request.output_tokens, choice)
    prompt = request.request.prompt_token_ids
    # A copy: by the time it is drawn the list may hold the place of the token itself.
    return Draw(sampling, request.output_tokens, choice, prompt, tuple(request.output_ids))
