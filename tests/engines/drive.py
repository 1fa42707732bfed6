"""Drives the step loop with no model: an executor that counts, a clock that a test moves."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from llmbench.engines.admission.optimistic import OptimisticAdmission
from llmbench.engines.admission.reserve import ReserveAdmission
from llmbench.engines.api import Request, SamplingParams, TokenEvent
from llmbench.engines.batching.mixed import MixedBatching
from llmbench.engines.batching.separate import SeparateBatching
from llmbench.engines.batching.static import StaticBatching
from llmbench.engines.core import EngineCore, Strategy
from llmbench.engines.executors.base import StepResult
from llmbench.engines.kv.base import ContiguousLayout, KVLayout
from llmbench.engines.kv.contiguous import ContiguousKVCache
from llmbench.engines.kv.paged import PagedKVCache
from llmbench.engines.step import Limits, StepPlan
from llmbench.engines.trace import StepTrace

BATCHING = {
    "separate": SeparateBatching,
    "mixed": MixedBatching,
    "static": StaticBatching,
}
ADMISSION = {"optimistic": OptimisticAdmission, "reserve": ReserveAdmission}


def make_kv(kind: str, tokens: int, max_model_len: int, block_size: int = 4):
    """A cache of `tokens` tokens of the named kind."""
    if kind == "paged":
        return PagedKVCache(tokens // block_size, block_size)
    return ContiguousKVCache(tokens, max_model_len)


@dataclass
class StepClock:
    """Each step takes one second: time passes when the executor runs."""

    time_s: float = 0.0

    def now(self) -> float:
        return self.time_s

    def sleep_until(self, time_s: float) -> None:
        self.time_s = max(self.time_s, time_s)


@dataclass
class CountingExecutor:
    """Token i of a request is a function of its known tokens only, as with a real greedy model.

    Remembers which slot each position was written to, and checks that what a chunk reads is what
    its own request wrote.
    """

    clock: StepClock = field(default_factory=StepClock)
    slots: dict[int, tuple[str, int, int]] = field(default_factory=dict)

    def execute(self, plan: StepPlan, layout: KVLayout) -> StepResult:
        self.clock.time_s += 1.0
        self._write(plan, layout)
        tokens: list[int] = []
        for index, chunk in enumerate(plan.chunks):
            self._read(index, chunk.request.request_id, chunk.end, chunk.request.token_ids, layout)
            if chunk.reaches_tail:
                tokens.append((31 * sum(chunk.request.token_ids) + chunk.end) % 97)
        return StepResult(tuple(tokens))

    def _write(self, plan: StepPlan, layout: KVLayout) -> None:
        written = iter(layout.slot_mapping)
        targets: list[int] = []
        for chunk in plan.chunks:
            for position in range(chunk.start, chunk.end):
                slot = next(written)
                targets.append(slot)
                token = chunk.request.token_ids[position]
                self.slots[slot] = (chunk.request.request_id, position, token)
        assert next(written, None) is None
        assert len(set(targets)) == len(targets), "two tokens written to one slot"

    def _read(self, index: int, owner: str, end: int, tokens: list[int], layout: KVLayout) -> None:
        for position in range(end):
            slot = read_slot(layout, index, position)
            assert self.slots[slot] == (owner, position, tokens[position])


def read_slot(layout: KVLayout, sequence: int, position: int) -> int:
    """Where a position of the plan's sequence is read."""
    if isinstance(layout, ContiguousLayout):
        return layout.starts[sequence] + position
    size = layout.block_size
    return layout.block_tables[sequence][position // size] * size + position % size


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
    **policy: object,
) -> EngineCore:
    executor = CountingExecutor()
    strategy = Strategy(
        batching=BATCHING[batching](**policy),
        admission=ADMISSION[admission](),
        kv=make_kv(kv, pool_tokens, max_model_len, block_size),
        limits=Limits(max_num_seqs, max_num_batched_tokens, max_model_len),
    )
    return EngineCore(strategy, executor, executor.clock)


def make_request(name: str, prompt: int, output: int, arrival_s: float = 0.0) -> Request:
    tokens = tuple((7 * i + len(name) + ord(name[0])) % 50 for i in range(prompt))
    return Request(name, tokens, SamplingParams(max_tokens=output), arrival_s)


@dataclass
class Run:
    """What a driven engine did."""

    steps: list[StepTrace] = field(default_factory=list)
    events: list[TokenEvent] = field(default_factory=list)

    def tokens(self, name: str) -> list[int]:
        return [
            event.token_id
            for event in self.events
            if event.request_id == name and event.token_id is not None
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
    if step.preempted:
        parts.append("preempt " + " ".join(step.preempted))
    if step.refused:
        parts.append("refuse " + " ".join(step.refused))
    return " | ".join(parts)


def drive(
    core: EngineCore,
    requests: Iterable[Request] = (),
    *,
    arrivals: dict[int, list[Request]] | None = None,
    max_steps: int = 500,
    after_step: Callable[[EngineCore, StepTrace], None] | None = None,
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
