"""The engine's side: takes up what has come in between steps, and says what each step made.

Nothing else touches the engine. It knows of no HTTP and no event loop: commands come from a queue,
and a step's tokens go out in one message, so that a step of many sequences wakes the server once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from queue import SimpleQueue
from typing import NamedTuple

from ...engines.api import Engine, FinishReason, Request, TokenEvent
from ...engines.clock import Clock
from ...engines.errors import ConfigError
from .lives import StepSeen


class Submit(NamedTuple):
    """Queue requests. One that the engine does not take ends as refused, with the reason."""

    requests: Sequence[Request]


class Abort(NamedTuple):
    """Take requests back before the next step; unknown ones are ignored."""

    request_ids: Sequence[str]


class Stop(NamedTuple):
    """End after the step that runs."""


Command = Submit | Abort | Stop


class Told(NamedTuple):
    """What became of requests. step: None where none was computed. idle: nothing is left to do."""

    step: StepSeen | None
    events: tuple[TokenEvent, ...]
    idle: bool


class EngineLoop:
    """Serves until told to stop, or until the engine raises. tell: is given each message."""

    def __init__(
        self,
        engine: Engine,
        clock: Clock,
        inbox: SimpleQueue[Command],
        tell: Callable[[Told], None],
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._inbox = inbox
        self._tell = tell

    def run(self) -> None:
        while self._take_commands():
            if self._engine.has_work():
                self._step()

    def _step(self) -> None:
        outcome = self._engine.step()
        seen = None if outcome.trace is None else StepSeen.of(outcome.trace)
        self._tell(Told(seen, outcome.events, not self._engine.has_work()))

    def _take_commands(self) -> bool:
        """Carry out what has come in; with nothing to compute, wait for it. False to stop."""
        inbox = self._inbox
        while not inbox.empty() or not self._engine.has_work():
            command = inbox.get()
            if isinstance(command, Stop):
                return False
            if isinstance(command, Submit):
                self._add(command.requests)
            else:
                self._take_back(command.request_ids)
        return True

    def _add(self, requests: Iterable[Request]) -> None:
        for request in requests:
            try:
                self._engine.add(request)
            except ConfigError as error:
                self._refuse(request, error)

    def _refuse(self, request: Request, error: ConfigError) -> None:
        now_s = self._clock.now()
        events = tuple(
            TokenEvent(request.request_id, None, now_s, FinishReason.REFUSED, str(error), choice)
            for choice in range(request.sampling.n)
        )
        self._tell(Told(None, events, not self._engine.has_work()))

    def _take_back(self, request_ids: Iterable[str]) -> None:
        for name in request_ids:
            self._engine.abort(name)
        if not self._engine.has_work():
            self._tell(Told(None, (), idle=True))
