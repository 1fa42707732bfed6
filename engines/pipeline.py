"""The step loop with one step prepared while another runs.

Step n + 1 is planned as if every sequence of step n went on: the token that n samples for it is
known to come, and its value is still on the device (`RequestState.awaited_row`). Only then the
tokens of n are read, the one time that the host waits for the device. What follows:

- An output that ends with its length is known to end when its last step is submitted. It makes
  room at once, and a plan sees the queues and the cache that the loop of `core.py` would show it:
  the schedule is the same. But for one thing: where blocks are named when they are taken
  (`batching/unified.py`), one that ends with the token to come gets its name a step later, and a
  request that starts in that very step and knows that token computes the block itself.
- An output that ends otherwise (end of text, a stop string, logits without a token) is found to
  have ended one step late: its row of step n + 1 was computed in vain, and is dropped.
- Where the executor cannot sample without the host (`PipelinedExecutor.why_synchronous`), the next
  step waits for the tokens, and the trace says why.

Room that is given back may be handed out at once, though a step that is running still reads or
writes it: steps are carried out in the order of submission, so whoever gets it writes later.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from .api import Request, StepOutcome, TokenEvent
from .clock import Clock
from .core import EngineCore
from .errors import OutOfMemory
from .executors.base import Pending, PipelinedExecutor, StepResult
from .ledger import Ledger
from .state import PLACEHOLDER, QueueView, RequestState
from .step import StepPlan
from .step_trace import trace_chunks, trace_step
from .stopping import Decode
from .strategy import Strategy
from .trace import PhaseTimes, StepTrace


@dataclass
class _Flight:
    """A step that was submitted and not read.

    arriving: new samples whose keys and values it moves into place. sampled: whose next token it
    computes, each with its row among the step's samples. trace: all but its times, once the step
    counts as done. synchronous: as in `StepTrace`.
    """

    plan: StepPlan
    arriving: tuple[RequestState, ...]
    pending: Pending | None = None
    error: Exception | None = None
    synchronous: str = ""
    sampled: list[tuple[int, RequestState]] = field(default_factory=list)
    trace: StepTrace | None = None

    def wait(self) -> StepResult:
        """Its result; an empty one where there is none, and `error` says why."""
        if self.pending is not None:
            try:
                return self.pending.result()
            except OutOfMemory:
                raise
            except Exception as error:  # noqa: BLE001 (it ends the step's requests, with its text)
                self.error = error
        return StepResult(())

    def abandon(self) -> None:
        """Wait until it is over; nobody asks for what it computed any more."""
        self.wait()
        self.pending = self.error = None

    @property
    def touched(self) -> list[RequestState]:
        """Whose keys and values it computes or moves."""
        computed = [chunk.request for chunk in self.plan.chunks]
        return [*computed, *self.plan.swapped_out, *self.arriving]


@dataclass
class _HostTimes:
    """What one call of `step` did beside the device, in seconds."""

    schedule_s: float = 0.0
    submit_s: float = 0.0
    wait_s: float = 0.0

    def phases(self, duration_s: float, swap_s: float) -> PhaseTimes:
        """swap_s: what the step that was waited for took to swap; so much less would have been
        waited for it."""
        rest_s = duration_s - self.schedule_s - self.submit_s - self.wait_s
        swap_s = min(swap_s, self.wait_s)
        return PhaseTimes(
            schedule_s=self.schedule_s,
            prepare_s=self.submit_s,
            linear_s=self.wait_s - swap_s,
            host_s=rest_s,
            swap_s=swap_s,
        )


class PipelinedCore:
    """As `EngineCore`, with a step in flight between two calls of `step`."""

    def __init__(
        self,
        strategy: Strategy,
        executor: PipelinedExecutor,
        clock: Clock,
        eos_token_ids: tuple[int, ...] = (),
        decode: Decode | None = None,
    ) -> None:
        """decode: token ids to text; without it, requests with stop strings are refused."""
        self.strategy = strategy
        self._ledger = Ledger(strategy, eos_token_ids, decode)
        self._executor = executor
        self._clock = clock
        self._flight: _Flight | None = None
        self._steps = 0
        self._last_end_s = 0.0

    def add(self, request: Request) -> None:
        self._ledger.add(request)

    def abort(self, request_id: str) -> None:
        self._ledger.abort(request_id)

    def has_work(self) -> bool:
        return not self._ledger.is_empty or self._flight is not None

    @property
    def queues(self) -> QueueView:
        """Who stands where between steps, in order: to look at, not to change."""
        return self._ledger.queues.view()

    def step(self) -> StepOutcome:
        """The tokens of the step in flight; the next one is submitted before they are read."""
        if not self.has_work():
            return StepOutcome((), None)
        ledger, times = self._ledger, _HostTimes()
        failed: tuple[str, ...] = ()
        start_s, current = self._last_end_s, self._flight
        if current is None:
            start_s = self._clock.now()
            current = self._launch(times)
            self._count_as_done(current)
        following = self._launch(times) if self._may_go_on(current) else None

        waiting_s = self._clock.now()
        result = current.wait()
        read_s = self._clock.now()
        times.wait_s = read_s - waiting_s
        events = ledger.refuse(current.plan.refused, read_s)
        if current.error is None:
            tokens, broken = self._deliver(current, result, read_s)
            ledger.release(tokens)  # a sample that ended in this very step ends once
            endings, failed = ledger.fail_alone(broken, read_s)
            events += tokens + endings
        else:
            events += self._fail_flights(current, following, read_s)
        if following is not None:
            self._count_as_done(following)
        self._flight = following

        end_s = self._last_end_s = self._clock.now()
        if current.plan.prefills:
            ledger.queues.last_prompt_step_s = end_s - start_s
        assert current.trace is not None
        trace = replace(
            current.trace,
            failed=current.trace.failed + failed,
            index=self._steps,
            start_s=start_s,
            end_s=end_s,
            phases=times.phases(end_s - start_s, result.times.swap_s),
            device_s=result.device_s,
            replayed=result.replayed,
        )
        self._steps += 1
        return StepOutcome(tuple(events), trace)

    def _may_go_on(self, current: _Flight) -> bool:
        """Whether there is a next step that can be submitted before this one is read."""
        queues = self._ledger.queues
        anybody = bool(queues.waiting or queues.running or queues.swapped)
        return anybody and not current.synchronous and current.error is None

    def _launch(self, times: _HostTimes) -> _Flight:
        """Plan a step and submit it."""
        start_s = self._clock.now()
        plan = self._ledger.plan(start_s)
        planned_s = self._clock.now()
        times.schedule_s += planned_s - start_s
        flight = _Flight(plan, tuple(self._ledger.take_arriving()))
        kv = self.strategy.kv
        moves = kv.take_moves()
        if plan.chunks or moves:
            flight.synchronous = self._executor.why_synchronous(plan)
            try:
                flight.pending = self._executor.submit(plan, kv, moves)
            except OutOfMemory:
                raise
            except Exception as error:  # noqa: BLE001 (as where its result is read)
                flight.error = error
        times.submit_s += self._clock.now() - planned_s
        return flight

    def _count_as_done(self, flight: _Flight) -> None:
        """Advance each chunk's sequence, as if the step's tokens were there: the next plan goes on
        from here. Whoever ended while the step was being prepared is left out."""
        chunks = trace_chunks(flight.plan)
        ledger, kv = self._ledger, self.strategy.kv
        # Samples that are told apart at the step's end were one while it ran.
        running = len(ledger.queues.running)
        dropped: list[RequestState] = []
        ended: list[RequestState] = []
        row = 0
        for request, start, length in flight.plan.chunks:
            end = start + length
            samples = request.samples if end == request.known_tokens else 0
            if ledger.is_live(request):
                request.computed_tokens = end
                request.most_computed_tokens = max(end, request.most_computed_tokens)
                kv.publish(request, end)
                if samples:
                    ended += self._await_tokens(flight, request, row)
            else:
                dropped.append(request)
            row += samples
        usage = ledger.usage()
        for sequence in ended:
            ledger.depart(sequence)
        trace = trace_step(
            flight.plan, chunks, ledger.queues, usage, running=running, times=PhaseTimes()
        )
        names = tuple(request.request_id for request in dropped)
        flight.trace = replace(trace, dropped=names, synchronous=flight.synchronous)

    def _await_tokens(
        self, flight: _Flight, request: RequestState, first_row: int
    ) -> list[RequestState]:
        """The sequence's samples know a token more. Returns those whose length ends with it."""
        samples = [request] if request.samples == 1 else self._ledger.fork(request)
        for row, sample in enumerate(samples, first_row):
            sample.append(PLACEHOLDER)
            sample.awaited_row = row
            flight.sampled.append((row, sample))
        return [sample for sample in samples if sample.known_tokens >= sample.full_tokens]

    def _deliver(
        self, flight: _Flight, result: StepResult, time_s: float
    ) -> tuple[list[TokenEvent], list[RequestState]]:
        """Put the step's tokens in the place of what was awaited. Also returns the sequences whose
        logits gave none."""
        events: list[TokenEvent] = []
        broken: list[RequestState] = []
        for row, sample in flight.sampled:
            if not self._ledger.is_live(sample):
                continue
            token_id = result.token_ids[row]
            if token_id < 0:
                broken.append(sample)
                continue
            sample.output_ids[-1] = token_id
            sample.awaited_row = None
            finish = self._ledger.finish_reason(sample, token_id)
            logprobs = result.logprobs[row] if result.logprobs else None
            name = sample.request.request_id
            events.append(TokenEvent(name, token_id, time_s, finish, "", sample.choice, logprobs))
        return events, broken

    def _fail_flights(
        self, current: _Flight, following: _Flight | None, time_s: float
    ) -> list[TokenEvent]:
        """End the requests of a step that failed, and of the one that was planned on it.

        Where blocks are found by their content, anybody may have found what was not computed since
        it was named: names are forgotten, and whoever else runs starts anew.
        """
        assert current.error is not None
        assert current.trace is not None
        ledger, kv, queues = self._ledger, self.strategy.kv, self._ledger.queues
        touched = [*current.touched, *ledger.take_arriving()]
        if following is not None:
            touched += following.touched
            following.abandon()
        events, failed = ledger.fail(touched, current.error, time_s)
        preempted: list[str] = []
        if kv.names_blocks:
            kv.forget_names()
            for state in reversed(queues.running.copy()):
                kv.release(state)
                queues.preempt(state)
                preempted.append(state.request_id)
        lost = (*current.trace.preempted, *preempted)
        current.trace = replace(current.trace, failed=failed, preempted=lost)
        return events


Core = EngineCore | PipelinedCore  # either step loop
