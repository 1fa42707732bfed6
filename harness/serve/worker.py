"""The thread that owns the engine: requests come in between steps, tokens go out after each.

Nothing else touches the engine. The event loop hands commands over through a queue; the thread
hands each step's tokens back in one call, so that a step of many sequences wakes the loop once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Thread

from ...engines.api import Engine, FinishReason, Request, TokenEvent
from ...engines.clock import Clock
from ...engines.errors import ConfigError, OutOfMemory
from .lives import Life, Lives


@dataclass(frozen=True)
class _Submit:
    requests: Sequence[tuple[Request, Life]]


@dataclass(frozen=True)
class _Abort:
    request_ids: Sequence[str]


@dataclass(frozen=True)
class _Stop:
    pass


Command = _Submit | _Abort | _Stop
Deliver = Callable[[Sequence[TokenEvent]], None]


class _PanicError(RuntimeError):
    """What code that is not Python raises, and no handler of exceptions catches."""

    def __init__(self, cause: BaseException) -> None:
        super().__init__(f"{type(cause).__name__}: {cause}")


class EngineWorker:
    """Serves in a thread of its own until stopped or until the engine fails.

    prepare: called first in that thread, for what is set by thread (how many threads compute).
    failure: what ended it, if it was not `stop`.
    """

    def __init__(
        self,
        engine: Engine,
        clock: Clock,
        lives: Lives,
        prepare: Callable[[], None] = lambda: None,
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._lives = lives
        self._prepare = prepare
        self._inbox: SimpleQueue[Command] = SimpleQueue()
        self._thread = Thread(target=self._run, name="engine", daemon=True)
        self.failure: Exception | None = None

    def start(
        self,
        loop: asyncio.AbstractEventLoop,
        deliver: Deliver,
        on_failure: Callable[[Exception], None],
    ) -> None:
        """deliver, on_failure: called in the loop's thread."""
        self._loop, self._deliver, self._on_failure = loop, deliver, on_failure
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive() and self.failure is None

    def submit(self, requests: Sequence[Request]) -> list[Life]:
        """Queue requests. One that the engine does not take ends as refused, with the reason.

        Returns what will be known of each: what it says of a token is there before the token is.
        """
        pairs = [(request, self._lives.expect(request)) for request in requests]
        self._inbox.put(_Submit(pairs))
        return [life for _, life in pairs]

    def abort(self, request_ids: Sequence[str]) -> None:
        """Take requests back before the next step; unknown ones are ignored."""
        self._inbox.put(_Abort(request_ids))

    def stop(self) -> None:
        """End after the step that runs, and wait for it."""
        self._inbox.put(_Stop())
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        try:
            self._prepare()
            while self._take_commands():
                self._step()
        except BaseException as error:  # noqa: BLE001 (every stream must hear of it, whatever it is)
            self.failure = error if isinstance(error, Exception) else _PanicError(error)
            self._loop.call_soon_threadsafe(self._on_failure, self.failure)

    def _step(self) -> None:
        engine = self._engine
        if not engine.has_work():
            return
        outcome = engine.step()
        self._lives.note_step(outcome.trace, outcome.events)
        if outcome.events:
            self._send(outcome.events)
        if not engine.has_work():
            self._lives.note_idle()

    def _take_commands(self) -> bool:
        """Carry out what has come in; with nothing to compute, wait for it. False to stop."""
        inbox = self._inbox
        while not inbox.empty() or not self._engine.has_work():
            command = inbox.get()
            if isinstance(command, _Stop):
                return False
            if isinstance(command, _Submit):
                self._add(command.requests)
            else:
                self._take_back(command.request_ids)
        return True

    def _add(self, requests: Iterable[tuple[Request, Life]]) -> None:
        for request, life in requests:
            self._lives.begin(life)
            try:
                self._engine.add(request)
            except ConfigError as error:
                self._refuse(request, error)

    def _refuse(self, request: Request, error: ConfigError) -> None:
        now_s = self._clock.now()
        events = [
            TokenEvent(request.request_id, None, now_s, FinishReason.REFUSED, str(error), choice)
            for choice in range(request.sampling.n)
        ]
        self._lives.note_step(None, events)
        self._send(events)

    def _take_back(self, request_ids: Iterable[str]) -> None:
        for name in request_ids:
            self._engine.abort(name)
            self._lives.forget(name)
        if not self._engine.has_work():
            self._lives.note_idle()

    def _send(self, events: Sequence[TokenEvent]) -> None:
        self._loop.call_soon_threadsafe(self._deliver, events)


def failure_line(error: Exception) -> str:
    """What ended an engine, in one line."""
    text = " ".join(str(error).split())
    return (
        text if isinstance(error, OutOfMemory | _PanicError) else f"{type(error).__name__}: {text}"
    )
