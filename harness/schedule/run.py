"""Drives an engine over a scenario, with no model, and writes down what it did."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from ...engines.api import Request, StepOutcome, TokenEvent
from ...engines.clock import VirtualClock
from ...engines.core import EngineCore
from ...engines.errors import ConfigError
from ...engines.trace import StepTrace
from .build import build_strategy, requests_of, resolve, settings_of
from .executor import FixedTokenExecutor, Where, where
from .outcomes import outcomes
from .result import VERSION, Chunk, KVState, Place, Refused, Schedule, Step
from .scenario import Scenario, ScenarioRequest


def schedule(scenario: Scenario) -> Schedule:
    """What the scenario's engine does with its requests, step by step.

    Raises ConfigError for an engine or a pool that cannot work. A request that can never be
    served is refused in the schedule.
    """
    engine = resolve(scenario)
    strategy = build_strategy(scenario, engine)
    clock = VirtualClock()
    executor = FixedTokenExecutor(clock, scenario.step_s, scenario.prompt_step_s or scenario.step_s)
    core = EngineCore(strategy, executor, clock)
    steps = _Drive(scenario, core, executor).run()
    kv = strategy.kv
    return Schedule(
        version=VERSION,
        engine=scenario.engine.preset,
        settings=settings_of(strategy, engine),
        kv_unit="blocks" if kv.kind == "paged" else "tokens",
        kv_total=kv.total_units,
        steps=tuple(steps),
        requests=outcomes(scenario, steps),
        scenario=scenario,
    )


@dataclass
class _Drive:
    """The loop around `EngineCore.step`: who comes and goes before each step.

    live: requests that the engine holds.
    """

    scenario: Scenario
    core: EngineCore
    executor: FixedTokenExecutor
    live: set[str] = field(default_factory=set)

    def run(self) -> list[Step]:
        requests = requests_of(self.scenario)
        arriving = _by_step((row.arrival_step, row) for row in self.scenario.requests)
        leaving = _by_step(
            (row.abort_step, row) for row in self.scenario.requests if row.abort_step is not None
        )
        steps: list[Step] = []
        index = 0
        while len(steps) < self.scenario.max_steps:
            if not self.core.has_work():
                if not arriving:
                    break
                # Steps with nobody there take their time, too, but are not written down.
                arrival = min(arriving)
                self.executor.clock.advance((arrival - index) * self.scenario.step_s)
                index = arrival
            aborted = self._abort(leaving.pop(index, []))
            arrived = arriving.pop(index, [])
            refused = self._add(arrived, requests)
            names = tuple(row.id for row in arrived)
            steps.append(self._step(index, names, aborted, refused))
            index += 1
        return steps

    def _abort(self, rows: Iterable[ScenarioRequest]) -> tuple[str, ...]:
        names = tuple(row.id for row in rows if row.id in self.live)
        for name in names:
            self.core.abort(name)
        return names

    def _add(
        self, rows: Iterable[ScenarioRequest], requests: Mapping[str, Request]
    ) -> list[Refused]:
        """Queue who arrives; returns who is turned away at the door."""
        refused: list[Refused] = []
        for row in rows:
            request = replace(requests[row.id], arrival_s=self.executor.clock.now())
            try:
                self.core.add(request)
            except ConfigError as error:
                refused.append(Refused(row.id, f"{error.value}; expected {error.allowed}"))
            else:
                self.live.add(row.id)
        return refused

    def _step(
        self,
        index: int,
        arrived: tuple[str, ...],
        aborted: tuple[str, ...],
        at_the_door: list[Refused],
    ) -> Step:
        executor, clock = self.executor, self.executor.clock
        start_s = clock.now()
        executor.forget()
        outcome = self.core.step()
        if clock.now() == start_s:  # nothing was executed
            clock.advance(executor.step_s)
        trace, queues = outcome.trace, self.core.queues
        events = _Events.of(outcome)
        self.live = {state.request.request_id for queue in queues for state in queue}
        places = executor.places | {
            state.request_id: where(self.core.strategy.kv, state) for state in queues.running
        }
        return Step(
            index=index,
            start_s=start_s,
            arrived=arrived,
            aborted=aborted,
            prefills=_chunks(trace, "prefill", events),
            decodes=_chunks(trace, "decode", events),
            preempted=_without(trace.preempted, trace.swapped_out) if trace else (),
            swapped_out=trace.swapped_out if trace else (),
            swapped_in=trace.swapped_in if trace else (),
            refused=(*at_the_door, *events.refused),
            ended=events.ended,
            waiting=tuple(state.request_id for state in queues.waiting),
            on_host=tuple(state.request_id for state in queues.swapped),
            running=tuple(trace.kv.holdings.request_ids) if trace else (),
            kv=self._kv_state(trace, places),
        )

    def _kv_state(self, trace: StepTrace | None, places: Mapping[str, Where]) -> KVState:
        kv = self.core.strategy.kv
        if trace is None:
            cached = kv.usage((), None).cached_tokens // kv.tokens_per_unit
            return KVState(kv.free_units, 0, 0, cached, 0, 0, ())
        usage, size = trace.kv, kv.tokens_per_unit
        held = usage.held_tokens // size
        nowhere: Where = ((), None)
        return KVState(
            free=kv.total_units - held,
            held=held,
            shared=usage.shared_room_tokens // size,
            cached=usage.cached_tokens // size,
            external=usage.external_tokens // size,
            copied=self.executor.copied,
            places=tuple(
                Place(name, used, room, *places.get(name, nowhere))
                for name, used, room in usage.holdings
            ),
        )


@dataclass(frozen=True)
class _Events:
    """A step's events by sequence. tokens: sequences that a token was sampled for."""

    tokens: frozenset[str]
    ended: tuple[str, ...]
    refused: tuple[Refused, ...]

    @classmethod
    def of(cls, outcome: StepOutcome) -> _Events:
        named = [(_sequence(event), event) for event in outcome.events]
        ended = {name: event for name, event in named if event.finish is not None}
        gone = outcome.trace.refused if outcome.trace else ()
        return cls(
            frozenset(name for name, event in named if event.token_id is not None),
            tuple(name for name, event in ended.items() if event.token_id is not None),
            tuple(Refused(name, ended[name].detail) for name in gone),
        )


def _sequence(event: TokenEvent) -> str:
    return f"{event.request_id}#{event.choice}" if event.choice else event.request_id


def _chunks(trace: StepTrace | None, phase: str, events: _Events) -> tuple[Chunk, ...]:
    return tuple(
        Chunk(
            one.request_id,
            one.start,
            one.length,
            one.cached_tokens,
            one.recomputed_tokens,
            one.request_id in events.tokens,
        )
        for one in (trace.chunks if trace else ())
        if one.phase == phase
    )


def _without(names: tuple[str, ...], others: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in names if name not in others)


def _by_step(
    rows: Iterable[tuple[int, ScenarioRequest]],
) -> dict[int, list[ScenarioRequest]]:
    found: dict[int, list[ScenarioRequest]] = {}
    for step, row in rows:
        found.setdefault(step, []).append(row)
    return found
