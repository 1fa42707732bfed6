"""Computes a step with the real model on one device."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter

import torch
from torch import Tensor

from ...kernels.batch import AttentionBatch, ContiguousBatch, PagedBatch
from ..kv.base import ContiguousLayout, KVCache, KVLayout, Move
from ..models.decoder import AttentionTimer, Decoder
from ..models.kv_tensors import KVTensors
from ..sampling import Draw, sample
from ..state import RequestState
from ..step import StepPlan
from .base import ForwardTimes, StepResult
from .moves import allocate_host, carry_out


class TorchExecutor:
    """Packs a plan's tokens, runs the model once, samples where a request's tail is reached."""

    def __init__(self, model: Decoder, cache: KVTensors, host_units: int = 0) -> None:
        """host_units: room on the host for sequences that are swapped out, in the cache's units."""
        self._model = model
        self._cache = cache
        self._host = allocate_host(cache.tensors, host_units) if host_units else []
        # An accelerator's launches return before the work is done.
        self._timed_attention = model.device.type == "cpu"

    @torch.inference_mode()
    def execute(self, plan: StepPlan, kv: KVCache, moves: Sequence[Move]) -> StepResult:
        moving_s = perf_counter()
        carry_out(moves, self._cache.tensors, self._host)
        start_s = perf_counter()
        swap_s = start_s - moving_s if moves else 0.0
        if not plan.chunks:
            return StepResult((), ForwardTimes(swap_s=swap_s))
        chunks = plan.chunks
        layout = kv.layout(plan)
        token_ids: list[int] = []
        positions: list[int] = []
        rows: list[int] = []
        for chunk in chunks:
            token_ids.extend(chunk.request.tokens(chunk.start, chunk.end))
            positions.extend(range(chunk.start, chunk.end))
            if chunk.reaches_tail:
                rows.append(len(token_ids) - 1)
        batch = self._batch(plan, layout)
        inputs = [self._tensor(ids) for ids in (token_ids, positions, layout.slot_mapping, rows)]
        prepared_s = perf_counter()

        timer = AttentionTimer() if self._timed_attention else None
        tokens, positions_t, slots, logit_rows = inputs
        logits = self._model.forward(
            tokens, positions_t, self._cache, batch, slots, logit_rows, timer
        )
        forward_s = perf_counter()
        draws, draw_rows = _draws(plan)
        sampled = sample(logits, draws, draw_rows) if draws else []
        attention_s = timer.seconds if timer else 0.0
        return StepResult(
            [one.token_id for one in sampled],
            ForwardTimes(
                prepare_s=prepared_s - start_s,
                attention_s=attention_s,
                linear_s=forward_s - prepared_s - attention_s,
                sample_s=perf_counter() - forward_s,
                swap_s=swap_s,
            ),
            [one.logprobs for one in sampled],
        )

    def _batch(self, plan: StepPlan, layout: KVLayout) -> AttentionBatch:
        query_lengths = tuple(chunk.length for chunk in plan.chunks)
        kv_lengths = tuple(chunk.end for chunk in plan.chunks)
        if isinstance(layout, ContiguousLayout):
            return ContiguousBatch(query_lengths, kv_lengths, tuple(layout.starts))
        longest = max(map(len, layout.block_tables))
        tables = [[*table, *[0] * (longest - len(table))] for table in layout.block_tables]
        return PagedBatch(query_lengths, kv_lengths, self._tensor(tables))

    def _tensor(self, values: list[int] | list[list[int]]) -> Tensor:
        return torch.tensor(values, dtype=torch.int64, device=self._model.device)


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
    return Draw(sampling, request.output_tokens, choice, prompt, request.output_ids)
