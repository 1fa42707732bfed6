"""The step loop: plan, execute, commit, trace. One loop for every engine.

What differs between engines is in the objects handed in: who may start (`admission/`), what may
share a step (`batching/`), where tokens live (`kv/`), what computes (`executors/`).
"""

from __future__ import annotations

from dataclasses import dataclass

from .admission.base import Admission
from .api import FinishReason, Request, StepOutcome, TokenEvent
from .batching.base import BatchingPolicy
from .clock import Clock
from .errors import ConfigError
from .executors.base import Executor, StepResult
from .kv.base import KVCache
from .state import Queues, RequestState
from .step import Chunk, Limits, StepPlan
from .trace import ChunkTrace, PhaseTimes, StepTrace


@dataclass(frozen=True)
class Strategy:
    """The choices that make an engine."""

    batching: BatchingPolicy
    admission: Admission
    kv: KVCache
    limits: Limits


class EngineCore:
    """Serves requests step by step. See `api.Engine` for the contract."""

    def __init__(
        self,
        strategy: Strategy,
        executor: Executor,
        clock: Clock,
        eos_token_ids: tuple[int, ...] = (),
    ) -> None:
        self.strategy = strategy
        self._executor = executor
        self._clock = clock
        self._eos = frozenset(eos_token_ids)
        self._queues = Queues()
        self._live: dict[str, RequestState] = {}
        self._steps = 0

    def add(self, request: Request) -> None:
        _check_request(request, self.strategy.limits)
        if request.request_id in self._live:
            raise ConfigError("request_id", request.request_id, "an id no live request has")
        state = RequestState(request)
        self._live[request.request_id] = state
        self._queues.waiting.append(state)

    def abort(self, request_id: str) -> None:
        state = self._live.pop(request_id, None)
        if state is None:
            return
        if state in self._queues.running:
            self._queues.running.remove(state)
        else:
            self._queues.waiting.remove(state)
        self.strategy.kv.release(state)

    def has_work(self) -> bool:
        return bool(self._live)

    def step(self) -> StepOutcome:
        if not self._live:
            return StepOutcome((), None)
        start_s = self._clock.now()
        strategy = self.strategy
        plan = strategy.batching.plan(
            self._queues, strategy.kv, strategy.admission, strategy.limits, start_s
        )
        self._check_progress(plan)
        layout = strategy.kv.layout(plan)
        planned_s = self._clock.now()
        result = self._executor.execute(plan, layout) if plan.chunks else StepResult(())
        executed_s = self._clock.now()

        chunks = tuple(_trace_chunk(chunk, decode=False) for chunk in plan.prefills) + tuple(
            _trace_chunk(chunk, decode=True) for chunk in plan.decodes
        )
        events = [*self._refuse(plan, executed_s), *self._commit(plan, result, executed_s)]
        head = self._queues.waiting[0] if self._queues.waiting else None
        usage = strategy.kv.usage(self._queues.running, head)
        running = len(self._queues.running)
        self._release_finished(events)

        end_s = self._clock.now()
        if plan.prefills:
            self._queues.last_prompt_step_s = end_s - start_s
        times = result.times
        accounted_s = times.prepare_s + times.attention_s + times.linear_s + times.sample_s
        schedule_s = planned_s - start_s
        trace = StepTrace(
            index=self._steps,
            start_s=start_s,
            end_s=end_s,
            chunks=chunks,
            waiting=len(self._queues.waiting),
            running=running,
            preempted=tuple(request.request_id for request in plan.preempted),
            refused=tuple(refusal.request.request_id for refusal in plan.refused),
            kv=usage,
            phases=PhaseTimes(
                schedule_s=schedule_s,
                prepare_s=times.prepare_s,
                attention_s=times.attention_s,
                linear_s=times.linear_s,
                sample_s=times.sample_s,
                host_s=end_s - start_s - schedule_s - accounted_s,
            ),
        )
        self._steps += 1
        return StepOutcome(tuple(events), trace)

    def _check_progress(self, plan: StepPlan) -> None:
        """An empty plan while requests live would loop for ever; no policy may return one."""
        if not (plan.chunks or plan.refused or plan.preempted):
            raise RuntimeError(
                f"no step to compute for {len(self._queues.waiting)} waiting and "
                f"{len(self._queues.running)} running requests"
            )

    def _refuse(self, plan: StepPlan, time_s: float) -> list[TokenEvent]:
        return [
            TokenEvent(
                refusal.request.request_id, None, time_s, FinishReason.REFUSED, refusal.reason
            )
            for refusal in plan.refused
        ]

    def _commit(self, plan: StepPlan, result: StepResult, time_s: float) -> list[TokenEvent]:
        """Advance each chunk's request; append the sampled token where its tail was reached."""
        tokens = iter(result.token_ids)
        events: list[TokenEvent] = []
        for chunk in plan.chunks:
            request = chunk.request
            sampled = chunk.reaches_tail
            request.computed_tokens = chunk.end
            request.most_computed_tokens = max(request.most_computed_tokens, chunk.end)
            if sampled:
                token_id = next(tokens)
                request.token_ids.append(token_id)
                finish = self._finish_reason(request, token_id)
                events.append(TokenEvent(request.request_id, token_id, time_s, finish))
        return events

    def _finish_reason(self, request: RequestState, token_id: int) -> FinishReason | None:
        sampling = request.request.sampling
        if token_id in sampling.stop_token_ids:
            return FinishReason.STOP
        if token_id in self._eos and not sampling.ignore_eos:
            return FinishReason.STOP
        if request.output_tokens >= sampling.max_tokens:
            return FinishReason.LENGTH
        return None

    def _release_finished(self, events: list[TokenEvent]) -> None:
        for event in events:
            if event.finish is None:
                continue
            request = self._live.pop(event.request_id)
            if event.finish is not FinishReason.REFUSED:
                self._queues.running.remove(request)
            self.strategy.kv.release(request)


def _check_request(request: Request, limits: Limits) -> None:
    prompt = len(request.prompt_token_ids)
    if prompt < 1:
        raise ConfigError("prompt", "", "at least one token")
    total = prompt + request.sampling.max_tokens
    if total > limits.max_model_len:
        raise ConfigError(
            "prompt",
            f"{prompt} tokens and {request.sampling.max_tokens} to generate",
            f"at most max_model_len ({limits.max_model_len}) together",
        )


def _trace_chunk(chunk: Chunk, *, decode: bool) -> ChunkTrace:
    computed_before = min(chunk.end, chunk.request.most_computed_tokens)
    return ChunkTrace(
        chunk.request.request_id,
        "decode" if decode else "prefill",
        chunk.start,
        chunk.length,
        recomputed_tokens=max(0, computed_before - chunk.start),
    )
