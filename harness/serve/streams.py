"""Where the engine's tokens wait for the reply that will carry them. Event loop's side only."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from ...engines.api import TokenEvent
from .errors import ApiError


class Stream:
    """The tokens of one HTTP request, which may be several of the engine's."""

    def __init__(self) -> None:
        self._events: list[TokenEvent] = []
        self._failure: ApiError | None = None
        self._waiter: asyncio.Future[None] | None = None

    def push(self, event: TokenEvent) -> None:
        self._events.append(event)
        self._wake()

    def fail(self, error: ApiError) -> None:
        """No more tokens will come; those that have are still read."""
        self._failure = error
        self._wake()

    async def take(self) -> list[TokenEvent]:
        """All that has come since, at least one. Raises ApiError where no more comes."""
        while not self._events:
            if self._failure is not None:
                raise self._failure
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        events, self._events = self._events, []
        return events

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Switchboard:
    """Which stream each of the engine's requests belongs to."""

    def __init__(self) -> None:
        self._streams: dict[str, Stream] = {}

    def connect(self, request_ids: Iterable[str], stream: Stream) -> None:
        self._streams.update(dict.fromkeys(request_ids, stream))

    def disconnect(self, request_ids: Iterable[str]) -> None:
        for name in request_ids:
            self._streams.pop(name, None)

    def deliver(self, events: Iterable[TokenEvent]) -> None:
        """What comes for a stream that nobody reads any more is dropped."""
        for event in events:
            stream = self._streams.get(event.request_id)
            if stream is not None:
                stream.push(event)

    def fail_all(self, error: ApiError) -> None:
        for stream in set(self._streams.values()):
            stream.fail(error)
