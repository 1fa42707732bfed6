"""The step loop: plan, execute, commit, trace. One loop for every engine.

What differs between engines is in the objects handed in: who may start (`admission/`), what may
share a step (`batching/`), where tokens live (`kv/`), what computes (`executors/`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .admission.base import Admission
from .api import FinishReason, Request, StepOutcome, TokenEvent
from .batching.base import BatchingPolicy
from .clock import Clock
from .errors import ConfigError, OutOfMemory
from .executors.base import Executor, StepResult
from .kv.base import KVCache
from .state import Queues, QueueView, RequestState
from .step import Chunk, Limits, Refusal, StepPlan
from .stopping import Decode, TextTail, finish_reason
from .trace import Chunks, KVUsage, PhaseTimes, StepTrace


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
        decode: Decode | None = None,
    ) -> None:
        """decode: token ids to text; without it, requests with stop strings are refused."""
        self.strategy = strategy
        self._executor = executor
        self._clock = clock
        self._eos = frozenset(eos_token_ids)
        self._decode = decode
        self._queues = Queues()
        # The sequences of each request; one until its samples are told apart.
        self._live: dict[str, list[RequestState]] = {}
        # New samples whose keys and values the next step moves into place.
        self._arriving: list[RequestState] = []
        self._steps = 0

    def add(self, request: Request) -> None:
        _check_request(request, self.strategy.limits)
        if request.request_id in self._live:
            raise ConfigError("request_id", request.request_id, "an id no live request has")
        state = RequestState(request, self._text_tail(request))
        self._live[request.request_id] = [state]
        self._queues.add(state)

    def abort(self, request_id: str) -> None:
        for state in self._live.pop(request_id, ()):
            self._leave(state)

    def has_work(self) -> bool:
        return bool(self._live)

    @property
    def queues(self) -> QueueView:
        """Who stands where between steps, in order: to look at, not to change."""
        return self._queues.view()

    def step(self) -> StepOutcome:
        if not self._live:
            return StepOutcome((), None)
        start_s = self._clock.now()
        queues = self._queues
        plan = self._plan(start_s)
        # Samples that are told apart at the step's end were one while it ran.
        running = len(queues.running)
        planned_s = self._clock.now()
        result, error = self._execute(plan)
        executed_s = self._clock.now()

        chunks = trace_chunks(plan)
        events = self._refuse(plan.refused, executed_s)
        failed: tuple[str, ...] = ()
        if error is not None:
            # Who was refused has ended: a sibling of a failed sample ends once.
            self._release_finished(events)
            computed = [chunk.request for chunk in plan.chunks]
            touched = [*computed, *plan.swapped_out, *self._arriving]
            failed = self._fail(touched, error, executed_s, events)
        self._arriving.clear()
        if error is None:
            events.extend(self._commit(plan.chunks, result, executed_s))
        usage = self._usage()
        self._release_finished(events)

        end_s = self._clock.now()
        if plan.prefills:
            queues.last_prompt_step_s = end_s - start_s
        times = _phases(result, planned_s - start_s, end_s - start_s)
        trace = self._trace(
            *(plan, chunks, (start_s, end_s), running, usage, times, failed),
            *(result.device_s, result.replayed),
        )
        self._steps += 1
        return StepOutcome(tuple(events), trace)

    def _plan(self, now_s: float) -> StepPlan:
        strategy, queues = self.strategy, self._queues
        plan = strategy.batching.plan(
            queues, strategy.kv, strategy.admission, strategy.limits, now_s
        )
        if plan.is_empty:
            # With requests alive this would go on for ever; no policy may return it.
            raise RuntimeError(
                f"no step to compute for {len(queues.waiting)} waiting, {len(queues.running)} "
                f"running and {len(queues.swapped)} swapped requests"
            )
        return plan

    def _execute(self, plan: StepPlan) -> tuple[StepResult, Exception | None]:
        """The step's result, or what its executor raised: a batch that failed must not take the
        engine and everybody else with it."""
        moves = self.strategy.kv.take_moves()
        if not plan.chunks and not moves:
            return StepResult(()), None
        try:
            return self._executor.execute(plan, self.strategy.kv, moves), None
        except OutOfMemory:
            raise  # the next step would find no more
        except Exception as error:  # noqa: BLE001 (it ends the step's requests, with its text)
            return StepResult(()), error

    def _refuse(self, refusals: Iterable[Refusal], time_s: float) -> list[TokenEvent]:
        return [
            event
            for refusal in refusals
            for event in _endings(refusal.request, FinishReason.REFUSED, refusal.reason, time_s)
        ]

    def _fail(
        self,
        touched: Iterable[RequestState],
        error: Exception,
        time_s: float,
        events: list[TokenEvent],
    ) -> tuple[str, ...]:
        """End the requests of a step that was not computed, all their samples.

        touched: those whose tokens it was to compute, and those whose keys and values were on their
        way, to the host or to a new sample. Returns the sequences.
        """
        detail = f"{type(error).__name__}: {error}"
        requests = dict.fromkeys(state.request.request_id for state in touched)
        states = [state for name in requests for state in self._live.get(name, ())]
        for state in states:
            # Blocks of the step were to be written; what names they got is not true.
            self.strategy.kv.release(state, computed=False)
            events.extend(_endings(state, FinishReason.ERROR, detail, time_s))
        return tuple(state.request_id for state in states)

    def _commit(
        self, chunks: Sequence[Chunk], result: StepResult, time_s: float
    ) -> list[TokenEvent]:
        """Advance each chunk's sequence; append the sampled token where its tail was reached."""
        tokens = iter(result.token_ids)
        logprobs = iter(result.logprobs)
        kv = self.strategy.kv
        publish = kv.publish if kv.names_blocks else None
        events: list[TokenEvent] = []
        for request, start, length in chunks:
            end = request.computed_tokens = start + length
            if end > request.most_computed_tokens:
                request.most_computed_tokens = end
            if publish:
                publish(request, end)
            if end != request.known_tokens:
                continue
            for sample in (request,) if request.samples == 1 else self._fork(request):
                token_id = next(tokens)
                sample.output_ids.append(token_id)
                sample.known_tokens += 1
                finish = self._finish_reason(sample, token_id)
                name = sample.request.request_id
                events.append(
                    TokenEvent(
                        name, token_id, time_s, finish, "", sample.choice, next(logprobs, None)
                    )
                )
        return events

    def _fork(self, parent: RequestState) -> list[RequestState]:
        """The samples of a request whose prompt is done, each a sequence of its own."""
        children = [parent.fork(choice) for choice in range(1, parent.samples)]
        self._queues.fork(parent, children)
        parent.samples = 1
        for child in children:
            if self.strategy.kv.fork(parent, child):
                self._arriving.append(child)
        samples = [parent, *children]
        self._live[parent.request.request_id] = samples.copy()
        return samples

    def _finish_reason(self, sequence: RequestState, token_id: int) -> FinishReason | None:
        if not sequence.may_stop:
            # Nothing but its length ends it: true of every request of a benchmark.
            return FinishReason.LENGTH if sequence.known_tokens >= sequence.full_tokens else None
        tail = sequence.text_tail
        found = tail is not None and tail.push(token_id)
        sampling, produced = sequence.request.sampling, len(sequence.output_ids)
        return finish_reason(sampling, token_id, produced, self._eos, stop_string=found)

    def _text_tail(self, request: Request) -> TextTail | None:
        stop = request.sampling.stop
        if not stop:
            return None
        if self._decode is None:
            raise ConfigError("stop", stop, "no stop strings: this engine has no tokenizer")
        return TextTail(stop, self._decode)

    def _release_finished(self, events: Iterable[TokenEvent]) -> None:
        """Let go of the sequences that ended."""
        for event in events:
            if event.finish is None:
                continue
            states = self._live.get(event.request_id, [])
            for state in states:
                if event.choice == state.choice:
                    states.remove(state)
                    if event.finish is FinishReason.REFUSED:
                        self.strategy.kv.release(state)
                    else:
                        self._leave(state)
                    break
            if not states:
                self._live.pop(event.request_id, None)

    def _leave(self, state: RequestState) -> None:
        """Out of its queue and of the cache."""
        self._queues.remove(state)
        self.strategy.kv.release(state)

    def _usage(self) -> KVUsage:
        queues = self._queues
        head = queues.waiting[0] if queues.waiting else None
        return self.strategy.kv.usage(queues.running, head)

    def _trace(
        self,
        plan: StepPlan,
        chunks: Chunks,
        span_s: tuple[float, float],
        running: int,
        usage: KVUsage,
        times: PhaseTimes,
        failed: tuple[str, ...],
        device_s: float = 0.0,
        replayed: bool = False,
    ) -> StepTrace:
        queues = self._queues
        return StepTrace(
            index=self._steps,
            start_s=span_s[0],
            end_s=span_s[1],
            chunks=chunks,
            waiting=len(queues.waiting) + len(queues.swapped),
            running=running,
            preempted=_ids([*plan.preempted, *plan.swapped_out]),
            refused=_ids([refusal.request for refusal in plan.refused]),
            kv=usage,
            phases=times,
            swapped_out=_ids(plan.swapped_out),
            swapped_in=_ids(plan.swapped_in),
            failed=failed,
            device_s=device_s,
            replayed=replayed,
        )


def _endings(
    state: RequestState, finish: FinishReason, detail: str, time_s: float
) -> list[TokenEvent]:
    """One for each sample the sequence stands for."""
    choices = range(state.choice, state.choice + state.samples)
    name = state.request.request_id
    return [TokenEvent(name, None, time_s, finish, detail, choice) for choice in choices]


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


def trace_chunks(plan: StepPlan) -> Chunks:
    """Before the step is committed: what had been computed before is still known."""
    chunks = plan.chunks
    recomputed: dict[int, int] = {}
    cached: dict[int, int] = {}
    for index, (request, start, length) in enumerate(plan.prefills):
        again = min(start + length, request.most_computed_tokens) - start
        if again > 0:
            recomputed[index] = again
        if request.hit_tokens:
            cached[index], request.hit_tokens = request.hit_tokens, 0
    return Chunks(
        [request.request_id for request, _, _ in chunks],
        [start for _, start, _ in chunks],
        [length for _, _, length in chunks],
        len(plan.prefills),
        recomputed,
        cached,
    )


def _phases(result: StepResult, schedule_s: float, duration_s: float) -> PhaseTimes:
    times = result.times
    return PhaseTimes(
        schedule_s=schedule_s,
        prepare_s=times.prepare_s,
        attention_s=times.attention_s,
        linear_s=times.linear_s,
        sample_s=times.sample_s,
        host_s=duration_s - schedule_s - times.total_s,
        communicate_s=times.communicate_s,
        swap_s=times.swap_s,
    )


def _ids(states: Sequence[RequestState]) -> tuple[str, ...]:
    return tuple([state.request_id for state in states]) if states else ()
