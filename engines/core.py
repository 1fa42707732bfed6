"""The step loop: plan, execute, commit, trace. The same for every engine.

What differs between engines is in the objects handed in: who may start (`admission/`), what may
share a step (`batching/`), where tokens live (`kv/`), what computes (`executors/`). A second loop,
`pipeline.py`, prepares a step while another runs; what becomes of a request stands in `ledger.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

from .api import Request, StepOutcome, TokenEvent
from .clock import Clock
from .errors import OutOfMemory
from .executors.base import Executor, StepResult
from .ledger import Ledger
from .state import QueueView, RequestState
from .step import Chunk, StepPlan
from .step_trace import phases, trace_chunks, trace_step
from .stopping import Decode
from .strategy import Strategy


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
        self._ledger = Ledger(strategy, eos_token_ids, decode)
        self._executor = executor
        self._clock = clock
        self._steps = 0

    def add(self, request: Request) -> None:
        self._ledger.add(request)

    def abort(self, request_id: str) -> None:
        self._ledger.abort(request_id)

    def has_work(self) -> bool:
        return not self._ledger.is_empty

    @property
    def queues(self) -> QueueView:
        """Who stands where between steps, in order: to look at, not to change."""
        return self._ledger.queues.view()

    def step(self) -> StepOutcome:
        if not self.has_work():
            return StepOutcome((), None)
        start_s = self._clock.now()
        ledger, queues = self._ledger, self._ledger.queues
        plan = ledger.plan(start_s)
        # Samples that are told apart at the step's end were one while it ran.
        running = len(queues.running)
        arriving = ledger.take_arriving()
        planned_s = self._clock.now()
        result, error = self._execute(plan)
        executed_s = self._clock.now()

        chunks = trace_chunks(plan)
        events = ledger.refuse(plan.refused, executed_s)
        failed: tuple[str, ...] = ()
        if error is None:
            tokens, broken = self._commit(plan.chunks, result, executed_s)
            events += tokens
            if broken:
                ledger.release(tokens)  # a sample that ended in this very step ends once
                endings, failed = ledger.fail_alone(broken, executed_s)
                events += endings
        else:
            touched = [*(chunk.request for chunk in plan.chunks), *plan.swapped_out, *arriving]
            endings, failed = ledger.fail(touched, error, executed_s)
            events += endings
        usage = ledger.usage()
        ledger.release(events)

        end_s = self._clock.now()
        if plan.prefills:
            queues.last_prompt_step_s = end_s - start_s
        trace = trace_step(
            plan,
            chunks,
            queues,
            usage,
            running=running,
            times=phases(result, planned_s - start_s, end_s - start_s),
            index=self._steps,
            span_s=(start_s, end_s),
            failed=failed,
            device_s=result.device_s,
            replayed=result.replayed,
        )
        self._steps += 1
        return StepOutcome(tuple(events), trace)

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

    def _commit(
        self, chunks: Sequence[Chunk], result: StepResult, time_s: float
    ) -> tuple[list[TokenEvent], list[RequestState]]:
        """Advance each chunk's sequence; append the sampled token where its tail was reached. Also
        returns the sequences whose logits gave none."""
        tokens = iter(result.token_ids)
        logprobs = iter(result.logprobs)
        ledger, kv = self._ledger, self.strategy.kv
        publish = kv.publish if kv.names_blocks else None
        events: list[TokenEvent] = []
        broken: list[RequestState] = []
        for request, start, length in chunks:
            end = request.computed_tokens = start + length
            if end > request.most_computed_tokens:
                request.most_computed_tokens = end
            if publish:
                publish(request, end)
            if end != request.known_tokens:
                continue
            for sample in (request,) if request.samples == 1 else ledger.fork(request):
                token_id, shown = next(tokens), next(logprobs, None)
                if token_id < 0:
                    broken.append(sample)
                    continue
                sample.output_ids.append(token_id)
                sample.known_tokens += 1
                finish = ledger.finish_reason(sample, token_id)
                name = sample.request.request_id
                events.append(TokenEvent(name, token_id, time_s, finish, "", sample.choice, shown))
        return events, broken
