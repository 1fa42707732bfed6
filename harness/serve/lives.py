"""What the engine knows of each request: when it came, was first computed, spoke, and ended."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ...engines.api import FinishReason, Request, TokenEvent
from ...engines.trace import StepTrace


@dataclass
class Life:
    """One request. Times are seconds on the engine's clock; choices are its samples.

    arrival_s: when its HTTP request came in, not when the engine's thread took it up.
    cached_tokens: of the prompt, found in the prefix cache and never computed.
    first_s, last_s, tokens: of each choice, its first and newest token and how many there are.
    """

    request_id: str
    arrival_s: float
    prompt_tokens: int
    scheduled_s: float | None = None
    cached_tokens: int = 0
    first_s: list[float] = field(default_factory=list)
    last_s: list[float] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    finish: list[FinishReason | None] = field(default_factory=list)

    @classmethod
    def of(cls, request: Request) -> Life:
        n = request.sampling.n
        return cls(
            request.request_id,
            request.arrival_s,
            len(request.prompt_token_ids),
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


class Observer(Protocol):
    """Who is told what the engine does. Called in the engine's thread, between steps."""

    def step(self, trace: StepTrace, output_tokens: int) -> None: ...

    def scheduled(self, life: Life) -> None: ...

    def ended(self, life: Life) -> None: ...

    def idle(self) -> None: ...


class Lives:
    """The requests that an engine holds, and their observers."""

    def __init__(self, observers: Iterable[Observer] = ()) -> None:
        self._observers = tuple(observers)
        self._lives: dict[str, Life] = {}
        # Those that no step has computed yet; added to and counted by the event loop's thread.
        self._waiting: set[str] = set()

    @property
    def waiting(self) -> int:
        """Requests that have come and that no step has computed any of."""
        return len(self._waiting)

    def expect(self, request: Request) -> Life:
        """It is on its way to the engine."""
        self._waiting.add(request.request_id)
        return Life.of(request)

    def begin(self, life: Life) -> None:
        self._lives[life.request_id] = life

    def forget(self, request_id: str) -> None:
        """A request that was taken back has no end to speak of."""
        self._waiting.discard(request_id)
        self._lives.pop(request_id, None)

    def note_step(self, trace: StepTrace | None, events: Sequence[TokenEvent]) -> None:
        if trace is not None:
            self._note_trace(trace, sum(event.token_id is not None for event in events))
        lives = self._lives
        for event in events:
            life = lives.get(event.request_id)
            if life is None:
                continue
            life.note(event)
            if event.finish is not None and life.ended:
                self.forget(life.request_id)
                for observer in self._observers:
                    observer.ended(life)

    def note_idle(self) -> None:
        for observer in self._observers:
            observer.idle()

    def _note_trace(self, trace: StepTrace, output_tokens: int) -> None:
        chunks = trace.chunks
        began: set[str] = set()
        # Whoever decodes was scheduled before.
        for name in chunks.request_ids[: chunks.prefills]:
            life = self._lives.get(name)
            if life is not None and life.scheduled_s is None:
                life.scheduled_s = trace.start_s
                began.add(name)
                self._waiting.discard(name)
                for observer in self._observers:
                    observer.scheduled(life)
        for index, tokens in chunks.cached.items():
            # Who comes back after a preemption finds what was its own.
            if (name := chunks.request_ids[index]) in began:
                self._lives[name].cached_tokens = tokens
        for observer in self._observers:
            observer.step(trace, output_tokens)
