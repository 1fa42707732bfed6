"""Steps computed as they are started, or one after the other in a thread: on a CPU."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import perf_counter

import torch
from torch import Tensor

from ..api import SamplingParams, TokenLogprobs
from ..kv.base import Move
from ..models.decoder import AttentionTimer, Likeliest
from ..sampling import PENALTIES, sample, wants_argmax_only, why_on_host
from ..trace import PhaseTimes
from .base import Pending, StepResult
from .memory import explained
from .work import Work


@dataclass(frozen=True)
class _Done:
    done: StepResult

    def result(self) -> StepResult:
        return self.done


class Computing:
    """Each part of a step has its time, for nothing runs beside it."""

    def __init__(
        self,
        device: torch.device,
        move: Callable[[Sequence[Move]], float],
        force: Mapping[str, str] | None,
        *,
        in_thread: bool,
    ) -> None:
        """move: carries moves out, and says how many seconds went to the host and back. force:
        operation -> implementation, for sampling."""
        self._device = device
        self._move = move
        self._force = force or {}
        self._thread = ThreadPoolExecutor(1, "llmbench-step") if in_thread else None
        self._sampled: list[int] = []  # by the step computed last

    def start(self, work: Work) -> Pending:
        if self._thread is not None:
            return self._thread.submit(self._compute, work)
        return _Done(self._compute(work))

    def why_waited_for(self, sampling: SamplingParams) -> str:
        """It draws as it computes, so only what depends on tokens that are not read yet."""
        return PENALTIES if why_on_host(sampling) == PENALTIES else ""

    @torch.inference_mode()
    def _compute(self, work: Work) -> StepResult:
        start_s = perf_counter()
        swap_s = self._move(work.moves)
        if work.model_pass is None:
            return StepResult((), PhaseTimes(swap_s=swap_s))
        timer = AttentionTimer()
        likeliest = Likeliest() if wants_argmax_only(work.draws) else None
        with explained("to compute a step", self._device):
            logits = work.model_pass.logits(self._sampled, timer, likeliest)
        sample_s = perf_counter()
        token_ids, logprobs = self._sampled_of(logits, likeliest, work)
        # As where a step is launched.
        self._sampled = [max(0, token_id) for token_id in token_ids]
        return StepResult(
            token_ids,
            PhaseTimes(
                prepare_s=work.prepare_s,
                attention_s=timer.seconds,
                # Copies within the cache are the model's, which writes where they lie.
                linear_s=sample_s - start_s - swap_s - timer.seconds,
                sample_s=perf_counter() - sample_s,
                swap_s=swap_s,
            ),
            logprobs,
            replayed=work.replayed,
        )

    def _sampled_of(
        self, logits: Tensor, likeliest: Likeliest | None, work: Work
    ) -> tuple[list[int], list[TokenLogprobs | None]]:
        """The draws' tokens, and their log-probabilities if there may be any."""
        if likeliest is not None and likeliest.places is not None and "argmax" not in self._force:
            places = likeliest.places.tolist()
            return [places[row] for row in work.draw_rows], []
        if not work.draws:
            return [], []
        sampled = sample(logits, work.draws, work.draw_rows, self._force)
        return [one.token_id for one in sampled], [one.logprobs for one in sampled]
