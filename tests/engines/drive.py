"""Drives the step loop with no model: an executor that counts, a clock that a test moves."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from llmbench.engines.admission.optimistic import OptimisticAdmission
from llmbench.engines.admission.reserve import ReserveAdmission
from llmbench.engines.api import Request, SamplingParams, TokenEvent
from llmbench.engines.batching.inflight import InflightBatching
from llmbench.engines.batching.sarathi import SarathiBatching
from llmbench.engines.batching.separate import SeparateBatching
from llmbench.engines.batching.static import StaticBatching
from llmbench.engines.batching.unified import UnifiedBatching
from llmbench.engines.core import EngineCore
from llmbench.engines.executors.base import StepResult
from llmbench.engines.kv.base import ContiguousLayout, KVLayout, KVPlacement, Move
from llmbench.engines.kv.contiguous import ContiguousKVCache
from llmbench.engines.kv.paged import PagedKVCache
from llmbench.engines.pipeline import Core, PipelinedCore
from llmbench.engines.state import PLACEHOLDER
from llmbench.engines.step import Limits, StepPlan
from llmbench.engines.strategy import Strategy
from llmbench.engines.trace import StepTrace

BATCHING = {
    "separate": SeparateBatching,
    "unified": UnifiedBatching,
    "inflight": InflightBatching,
    "sarathi": SarathiBatching,
    "static": StaticBatching,
}
ADMISSION = {"optimistic": OptimisticAdmission, "reserve": ReserveAdmission}


def make_kv(kind: str, tokens: int, max_model_len: int, block_size: int = 4, **options: Any):
    """A cache of `tokens` tokens of the named kind."""
    if kind == "paged":
        return PagedKVCache(tokens // block_size, block_size, **options)
    return ContiguousKVCache(tokens, max_model_len, **options)


@dataclass
class StepClock:
    """Each step takes one second: time passes when the executor runs."""

    time_s: float = 0.0

    def now(self) -> float:
        return self.time_s

    def sleep_until(self, time_s: float) -> None:
        self.time_s = max(self.time_s, time_s)


# What a slot's keys and values depend on: every token up to its own.
Content = tuple[int, ...]


@dataclass
class Seen:
    """A chunk as it stood when its step was planned. choices: the samples it draws."""

    start: int
    end: int
    known: list[int]
    choices: range
    awaited_row: int | None


def see(plan: StepPlan) -> list[Seen]:
    return [
        Seen(
            chunk.start,
            chunk.end,
            chunk.request.token_ids,
            range(
                chunk.request.choice,
                chunk.request.choice + chunk.request.samples * chunk.reaches_tail,
            ),
            chunk.request.awaited_row,
        )
        for chunk in plan.chunks
    ]


@dataclass
class CountingExecutor:
    """Token i of a request is a function of its known tokens only, as with a real greedy model.

    Remembers which tokens each slot's content came from, carries out moves, and checks that what a
    chunk reads is what its own tokens would have written. fail_at: the execution that raises.
    broken: an execution and which of its rows of logits, in order, has no token; broke: whether it
    came to that.
    """

    clock: StepClock = field(default_factory=StepClock)
    slots: dict[int, Content] = field(default_factory=dict)
    host: dict[int, Content] = field(default_factory=dict)
    fail_at: int | None = None
    broken: tuple[int, int] | None = None
    broke: bool = False
    executions: int = 0

    def execute(self, plan: StepPlan, kv: KVPlacement, moves: Sequence[Move]) -> StepResult:
        return self.compute(see(plan), kv.layout(plan), moves, kv.tokens_per_unit)

    def compute(
        self, chunks: Sequence[Seen], layout: KVLayout, moves: Sequence[Move], unit_tokens: int
    ) -> StepResult:
        self.clock.time_s += 1.0
        self.executions += 1
        if self.executions - 1 == self.fail_at:
            raise RuntimeError("the device is on fire")
        for move in moves:
            self._move(move, unit_tokens)
        self._write(chunks, layout)
        tokens: list[int] = []
        rows = 0
        for index, chunk in enumerate(chunks):
            self._read(index, chunk.end, chunk.known, layout, unit_tokens)
            rows += bool(chunk.choices)
            if chunk.choices and (self.executions - 1, rows - 1) == self.broken:
                self.broke = True
                tokens += [-1] * len(chunk.choices)
                continue
            for choice in chunk.choices:
                tokens.append((31 * sum(chunk.known) + chunk.end + 5 * choice) % 97)
        return StepResult(tuple(tokens))

    def _move(self, move: Move, size: int) -> None:
        read = self.host if move.kind == "in" else self.slots
        write = self.host if move.kind == "out" else self.slots
        for offset in range(move.length * size):
            if move.source * size + offset in read:
                write[move.target * size + offset] = read[move.source * size + offset]

    def _write(self, chunks: Sequence[Seen], layout: KVLayout) -> None:
        written = iter(layout.slot_mapping)
        targets: list[int] = []
        for chunk in chunks:
            for position in range(chunk.start, chunk.end):
                slot = next(written)
                targets.append(slot)
                self.slots[slot] = tuple(chunk.known[: position + 1])
        assert next(written, None) is None
        assert len(set(targets)) == len(targets), "two tokens written to one slot"

    def _read(
        self, index: int, end: int, tokens: list[int], layout: KVLayout, unit_tokens: int
    ) -> None:
        for position in range(end):
            slot = read_slot(layout, index, position, unit_tokens)
            assert self.slots[slot] == tuple(tokens[: position + 1])


@dataclass
class LateExecutor(CountingExecutor):
    """The same, each step computed when its result is asked for and not before: by then the next
    one is planned and submitted. A token that a step awaits it takes from the step before.

    synchronous: what it says of steps at these submissions. refuses: the submission that raises.
    """

    synchronous: Collection[int] = ()
    refuses: int | None = None
    submissions: int = 0
    sampled: tuple[int, ...] = ()
    in_flight: int = 0
    most_in_flight: int = 0

    def why_synchronous(self, plan: StepPlan) -> str:
        del plan
        return "the test says so" if self.submissions in self.synchronous else ""

    def execute(self, plan: StepPlan, kv: KVPlacement, moves: Sequence[Move]) -> StepResult:
        return self.submit(plan, kv, moves).result()

    def submit(self, plan: StepPlan, kv: KVPlacement, moves: Sequence[Move]) -> LateStep:
        self.submissions += 1
        if self.submissions - 1 == self.refuses:
            raise RuntimeError("the device is on fire")
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        return LateStep(self, see(plan), kv.layout(plan), moves, kv.tokens_per_unit)


@dataclass
class LateStep:
    executor: LateExecutor
    chunks: list[Seen]
    layout: KVLayout
    moves: Sequence[Move]
    unit_tokens: int

    def result(self) -> StepResult:
        device = self.executor
        device.in_flight -= 1
        sampled, device.sampled = device.sampled, ()
        for chunk in self.chunks:
            if chunk.awaited_row is not None:
                assert chunk.known[-1] == PLACEHOLDER
                chunk.known[-1] = sampled[chunk.awaited_row]
            assert PLACEHOLDER not in chunk.known
        result = device.compute(self.chunks, self.layout, self.moves, self.unit_tokens)
        # There is an embedding of what the next step reads.
        device.sampled = tuple(max(0, token_id) for token_id in result.token_ids)
        return result


def read_slot(layout: KVLayout, sequence: int, position: int, unit_tokens: int) -> int:
    """Where a position of the plan's sequence is read. unit_tokens: of a block."""
    if isinstance(layout, ContiguousLayout):
        return layout.starts[sequence] + position
    block, offset = divmod(position, unit_tokens)
    return layout.block_tables[sequence][block] * unit_tokens + offset


def make_core(
    batching: str = "separate",
    admission: str = "optimistic",
    kv: str = "paged",
    *,
    pool_tokens: int = 64,
    block_size: int = 4,
    max_num_seqs: int = 4,
    max_num_batched_tokens: int = 32,
    max_model_len: int = 32,
    kv_options: Mapping[str, Any] | None = None,
    admission_options: Mapping[str, Any] | None = None,
    fail_at: int | None = None,
    broken: tuple[int, int] | None = None,
    late: Mapping[str, Any] | None = None,
    eos: tuple[int, ...] = (),
    **policy: Any,
) -> Core:
    """late: prepare each step while another runs, on a `LateExecutor` with these settings."""
    if batching == "inflight":
        policy.setdefault("chunk_unit", 1)
    strategy = Strategy(
        batching=BATCHING[batching](**policy),
        admission=ADMISSION[admission](**(admission_options or {})),
        kv=make_kv(kv, pool_tokens, max_model_len, block_size, **(kv_options or {})),
        limits=Limits(max_num_seqs, max_num_batched_tokens, max_model_len),
    )
    if late is not None:
        executor = LateExecutor(fail_at=fail_at, broken=broken, **late)
        return PipelinedCore(strategy, executor, executor.clock, eos)
    executor = CountingExecutor(fail_at=fail_at, broken=broken)
    return EngineCore(strategy, executor, executor.clock, eos)


def make_request(
    name: str,
    prompt: int,
    output: int,
    arrival_s: float = 0.0,
    *,
    n: int = 1,
    priority: int = 0,
    shared: int = 0,
) -> Request:
    """shared: how many tokens at the front are the same in every request."""
    own = tuple((7 * i + len(name) + 3 * ord(name[0])) % 50 for i in range(prompt - shared))
    tokens = tuple(60 + i % 7 for i in range(shared)) + own
    return Request(name, tokens, SamplingParams(max_tokens=output, n=n), arrival_s, priority)


@dataclass
class Run:
    """What a driven engine did."""

    steps: list[StepTrace] = field(default_factory=list)
    events: list[TokenEvent] = field(default_factory=list)

    def tokens(self, name: str, choice: int = 0) -> list[int]:
        return [
            event.token_id
            for event in self.events
            if event.request_id == name and event.choice == choice and event.token_id is not None
        ]

    def table(self) -> list[str]:
        """A step a line: `P a0+8 | D b` is a chunk of a's prompt and a decode of b."""
        return [describe(step) for step in self.steps]


def describe(step: StepTrace) -> str:
    prefills = [
        f"{chunk.request_id}{chunk.start}+{chunk.length}"
        for chunk in step.chunks
        if chunk.phase == "prefill"
    ]
    decodes = [chunk.request_id for chunk in step.chunks if chunk.phase == "decode"]
    parts = []
    if prefills:
        parts.append("P " + " ".join(prefills))
    if decodes:
        parts.append("D " + " ".join(decodes))
    gone = [name for name in step.preempted if name not in step.swapped_out]
    if gone:
        parts.append("preempt " + " ".join(gone))
    if step.swapped_out:
        parts.append("out " + " ".join(step.swapped_out))
    if step.swapped_in:
        parts.append("in " + " ".join(step.swapped_in))
    if step.failed:
        parts.append("fail " + " ".join(step.failed))
    if step.refused:
        parts.append("refuse " + " ".join(step.refused))
    return " | ".join(parts)


def drive(
    core: Core,
    requests: Iterable[Request] = (),
    *,
    arrivals: dict[int, list[Request]] | None = None,
    max_steps: int = 500,
    after_step: Callable[[Core, StepTrace], None] | None = None,
) -> Run:
    """Run until nothing is left. arrivals: requests that come just before step N."""
    run = Run()
    arrivals = dict(arrivals or {})
    for request in requests:
        core.add(request)
    for step in range(max_steps):
        for request in arrivals.pop(step, ()):
            core.add(request)
        if not core.has_work():
            if not arrivals:
                return run
            continue
        outcome = core.step()
        run.events.extend(outcome.events)
        assert outcome.trace is not None
        run.steps.append(outcome.trace)
        if after_step:
            after_step(core, outcome.trace)
    raise AssertionError(f"still working after {max_steps} steps")
