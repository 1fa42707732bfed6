"""Where an engine runs that a server has, as the server sees it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from ...engines.api import Request
from ...engines.errors import OutOfMemory
from .engine_loop import Told

Receive = Callable[[Told], None]
OnFailure = Callable[[Exception], None]


class EngineLostError(RuntimeError):
    """What ended an engine, where no exception of Python's did or none that can be passed on."""


class Worker(Protocol):
    """Runs an `EngineLoop` beside the event loop, which calls all of these.

    failure: what ended it, if it was not `stop`.
    """

    @property
    def failure(self) -> Exception | None: ...

    @property
    def alive(self) -> bool: ...

    def start(
        self, loop: asyncio.AbstractEventLoop, receive: Receive, on_failure: OnFailure
    ) -> None:
        """receive, on_failure: called in the loop's thread."""
        ...

    def submit(self, requests: Sequence[Request]) -> None: ...

    def abort(self, request_ids: Sequence[str]) -> None: ...

    def stop(self) -> None:
        """Nothing is received any more when this returns."""
        ...


def failure_line(error: Exception) -> str:
    """What ended an engine, in one line."""
    text = " ".join(str(error).split())
    says_all = isinstance(error, OutOfMemory | EngineLostError)
    return text if says_all else f"{type(error).__name__}: {text}"
