"""What the engine knows of each request: when it came, was first computed, spoke, and ended."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from ...engines.api import FinishReason, Request, TokenEvent
from ...engines.trace import StepTrace

# How a choice ended that nobody waited for any more, as vLLM has it.
TAKEN_BACK = "abort"


@dataclass
class Life:
    """One request. Times are seconds on the engine's clock; choices are its samples.

    arrival_s: when its HTTP request came in, not when the engine took it up.
    client_name: what its client called it; None if it did not.
    cached_tokens: of the prompt, found in the prefix cache and never computed.
    first_s, last_s, tokens: of each choice, its first and newest token and how many there are.
    """

    request_id: str
    arrival_s: float
    prompt_tokens: int
    client_name: str | None = None
    scheduled_s: float | None = None
    cached_tokens: int = 0
    first_s: list[float] = field(default_factory=list)
    last_s: list[float] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    finish: list[FinishReason | None] = field(default_factory=list)

    @classmethod
    def of(cls, request: Request, client_name: str | None) -> Life:
        n = request.sampling.n
        return cls(
            request.request_id,
            request.arrival_s,
            len(request.prompt_token_ids),
            client_name,
            first_s=[0.0] * n,
            last_s=[0.0] * n,
            tokens=[0] * n,
            finish=[None] * n,
        )

    @property
    def ended(self) -> bool:
        return None not in self.finish

    def note(self, event: TokenEvent) -> None:
        choice = event.choice
        if event.token_id is not None:
            if not self.tokens[choice]:
                self.first_s[choice] = event.time_s
            self.tokens[choice] += 1
            self.last_s[choice] = event.time_s
        if event.finish is not None:
            self.finish[choice] = event.finish


class StepSeen(NamedTuple):
    """What a server needs to know of a step: little, because the engine waits while it is sent.

    prefilled: sequences of whose prompts it computed some. cached_tokens: what of them was found in
    the prefix cache, by sequence. batch_tokens: all that it computed. held_share: of the KV cache,
    set aside for sequences, 0 to 1. The others are those of `StepTrace`.
    """

    start_s: float
    prefilled: tuple[str, ...]
    cached_tokens: Mapping[str, int]
    batch_tokens: int
    running: int
    waiting: int
    preempted: int
    held_share: float

    @classmethod
    def of(cls, trace: StepTrace) -> StepSeen:
        chunks, kv = trace.chunks, trace.kv
        ids = chunks.request_ids
        return cls(
            trace.start_s,
            tuple(ids[: chunks.prefills]),
            {ids[index]: tokens for index, tokens in chunks.cached.items()},
            trace.prefill_tokens + trace.decode_tokens,
            trace.running,
            trace.waiting,
            len(trace.preempted),
            kv.held_tokens / kv.capacity_tokens,
        )


class Observer(Protocol):
    """Who is told what the engine does, soon after it did."""

    def step(self, seen: StepSeen, output_tokens: int) -> None: ...

    def scheduled(self, life: Life) -> None: ...

    def ended(self, life: Life) -> None:
        """All its choices have, or it was taken back: `finish` is None of those that had not."""
        ...

    def idle(self) -> None: ...


class Lives:
    """The requests that an engine holds, and their observers. Event loop's side only."""

    def __init__(self, observers: Iterable[Observer] = ()) -> None:
        self._observers = tuple(observers)
        self._lives: dict[str, Life] = {}
        self._waiting: set[str] = set()

    @property
    def waiting(self) -> int:
        """Requests that have come and that no step has computed any of."""
        return len(self._waiting)

    def begin(self, request: Request, client_name: str | None = None) -> Life:
        """It is on its way to the engine."""
        life = self._lives[request.request_id] = Life.of(request, client_name)
        self._waiting.add(request.request_id)
        return life

    def take_back(self, request_id: str) -> None:
        """Nobody waits for it any more. Nothing to do if it has ended."""
        if (life := self._lives.get(request_id)) is not None:
            self._end(life)

    def _end(self, life: Life) -> None:
        self._waiting.discard(life.request_id)
        del self._lives[life.request_id]
        for observer in self._observers:
            observer.ended(life)

    def note_step(self, seen: StepSeen | None, events: Sequence[TokenEvent]) -> None:
        if seen is not None:
            self._note_seen(seen, sum(event.token_id is not None for event in events))
        lives = self._lives
        for event in events:
            life = lives.get(event.request_id)
            if life is None:
                continue
            life.note(event)
            if event.finish is not None and life.ended:
                self._end(life)

    def note_idle(self) -> None:
        for observer in self._observers:
            observer.idle()

    def _note_seen(self, seen: StepSeen, output_tokens: int) -> None:
        # Whoever decodes was scheduled before.
        for name in seen.prefilled:
            life = self._lives.get(name)
            if life is not None and life.scheduled_s is None:
                life.scheduled_s = seen.start_s
                # Who comes back after a preemption finds what was its own.
                life.cached_tokens = seen.cached_tokens.get(name, 0)
                self._waiting.discard(name)
                for observer in self._observers:
                    observer.scheduled(life)
        for observer in self._observers:
            observer.step(seen, output_tokens)
