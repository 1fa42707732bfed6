"""Sends a plan to an in-process engine and writes down what happened.

One thread: requests are handed over between steps, as a server's front end would, and their
latency counts from the time they were due, so a late hand-over is never hidden.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from ...engines.api import Engine, FinishReason, Request, SamplingParams, TokenEvent
from ...engines.clock import Clock
from ...engines.errors import OutOfMemory
from ...engines.trace import StepTrace
from ...workloads.api import Plan, PlannedRequest
from .arrivals import Arrivals
from .collection import without_collection
from .record import RequestRecord, RequestStatus


@dataclass(frozen=True)
class Observation:
    """All that a run showed. Times are seconds since the run began.

    interrupted: stopped early; requests that had not ended are marked unfinished. failure: what
    stopped it, in one line; empty if the user did.
    """

    records: tuple[RequestRecord, ...]
    steps: tuple[StepTrace, ...]
    duration_s: float
    interrupted: bool = False
    failure: str = ""


@dataclass(frozen=True)
class Progress:
    """How far a run has come. failed: of the finished requests."""

    finished: int
    total: int
    output_tokens: int
    elapsed_s: float
    failed: int = 0


@dataclass
class _Live:
    """A request being served, as its records fill."""

    planned: PlannedRequest
    sample: int
    t_due_s: float
    t_send_s: float
    t_scheduled_s: float | None = None
    token_times_s: list[float] = field(default_factory=list)
    token_ids: list[int] = field(default_factory=list)
    preemptions: int = 0
    recomputed_tokens: int = 0

    def record(self, status: RequestStatus, detail: str = "") -> RequestRecord:
        return RequestRecord(
            request_id=request_id(self.planned, self.sample),
            index=self.planned.index,
            sample=self.sample,
            status=status,
            t_due_s=self.t_due_s,
            t_send_s=self.t_send_s,
            t_scheduled_s=self.t_scheduled_s,
            token_times_s=tuple(self.token_times_s),
            input_tokens=len(self.planned.prompt_token_ids),
            output_token_ids=tuple(self.token_ids),
            preemptions=self.preemptions,
            recomputed_tokens=self.recomputed_tokens,
            detail=detail,
        )


def request_id(planned: PlannedRequest, sample: int = 0) -> str:
    """As the engine names a request and, beside the first, its samples."""
    return f"r{planned.index}#{sample}" if sample else f"r{planned.index}"


def drive(
    engine: Engine,
    clock: Clock,
    plan: Plan,
    *,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> Observation:
    """Serve every request of `plan` to its full output length. Ctrl-C, or a device without memory,
    ends the run early, and what was measured is kept."""
    run = _Recorder(plan, clock)
    interrupted, failure = False, ""
    try:
        with without_collection():
            _serve(engine, clock, run, on_progress)
    except KeyboardInterrupt:
        interrupted = True
    except OutOfMemory as error:
        interrupted, failure = True, str(error)
    return run.observation(interrupted, failure)


def _serve(
    engine: Engine, clock: Clock, run: _Recorder, on_progress: Callable[[Progress], None]
) -> None:
    while run.arrivals or engine.has_work():
        for planned, t_due_s in run.arrivals.due(run.now_s()):
            engine.add(run.send(planned, t_due_s))
        if engine.has_work():
            outcome = engine.step()
            if outcome.trace is not None:
                run.note_step(outcome.trace)
            for event in outcome.events:
                run.note_event(event)
            on_progress(run.progress())
        elif (next_s := run.arrivals.next_due_s()) is not None:
            clock.sleep_until(run.origin_s + next_s)


class _Recorder:
    """Turns events and traces on the engine's clock into records on the run's."""

    def __init__(self, plan: Plan, clock: Clock) -> None:
        self.arrivals = Arrivals(plan)
        self.origin_s = clock.now()
        self._clock = clock
        self._total = sum(planned.samples for planned in plan.requests)
        # By the engine's name of a sequence, and all of a request by the request's.
        self._live: dict[str, _Live] = {}
        self._samples: dict[str, list[_Live]] = {}
        self._records: list[RequestRecord] = []
        self._steps: list[StepTrace] = []
        self._output_tokens = 0

    def now_s(self) -> float:
        return self._clock.now() - self.origin_s

    def send(self, planned: PlannedRequest, t_due_s: float) -> Request:
        name, now_s = request_id(planned), self.now_s()
        self._samples[name] = [
            _Live(planned, sample, t_due_s, t_send_s=now_s) for sample in range(planned.samples)
        ]
        for live in self._samples[name]:
            self._live[request_id(planned, live.sample)] = live
        # Lengths are part of the workload, so the end-of-text token does not end a request.
        sampling = SamplingParams(
            max_tokens=planned.output_tokens, n=planned.samples, ignore_eos=True
        )
        return Request(name, planned.prompt_token_ids, sampling, self.origin_s + t_due_s)

    def note_step(self, trace: StepTrace) -> None:
        # Step numbers, like times, count from the start of the run, not of the engine.
        trace = replace(
            trace,
            index=len(self._steps),
            start_s=trace.start_s - self.origin_s,
            end_s=trace.end_s - self.origin_s,
        )
        self._steps.append(trace)
        # A failed step ends the requests of the one that was planned on it, too, whose trace still
        # names them: it comes after the event that ended them here.
        chunks = trace.chunks
        # Whoever decodes was scheduled before.
        for name in chunks.request_ids[: chunks.prefills]:
            live = self._live.get(name)
            if live is not None and live.t_scheduled_s is None:
                for sample in self._samples[request_id(live.planned)]:
                    sample.t_scheduled_s = trace.start_s
        for index, tokens in chunks.recomputed.items():
            if live := self._live.get(chunks.request_ids[index]):
                live.recomputed_tokens += tokens
        for name in trace.preempted:
            if live := self._live.get(name):
                live.preemptions += 1

    def note_event(self, event: TokenEvent) -> None:
        live = self._samples[event.request_id][event.choice]
        time_s = event.time_s - self.origin_s
        if event.token_id is not None:
            live.token_ids.append(event.token_id)
            live.token_times_s.append(time_s)
            self._output_tokens += 1
        if event.finish is not None:
            self._records.append(live.record(_status(event.finish), event.detail))
            del self._live[request_id(live.planned, live.sample)]
            samples = self._samples[event.request_id]
            if all(request_id(one.planned, one.sample) not in self._live for one in samples):
                del self._samples[event.request_id]
                self.arrivals.ended(live.planned, time_s)

    def progress(self) -> Progress:
        return Progress(len(self._records), self._total, self._output_tokens, self.now_s())

    def observation(self, interrupted: bool, failure: str) -> Observation:
        unfinished = [live.record(RequestStatus.UNFINISHED) for live in self._live.values()]
        records = sorted(
            [*self._records, *unfinished], key=lambda record: (record.index, record.sample)
        )
        return Observation(tuple(records), tuple(self._steps), self.now_s(), interrupted, failure)


def _status(finish: FinishReason) -> RequestStatus:
    if finish is FinishReason.REFUSED:
        return RequestStatus.REFUSED
    return RequestStatus.FAILED if finish is FinishReason.ERROR else RequestStatus.OK
