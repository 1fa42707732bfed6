"""An event loop that wakes when it is told to, and not up to a millisecond later.

`epoll_wait` takes whole milliseconds, and asyncio rounds its timeouts up to them: every send would
be late by half a millisecond on average. `select` takes microseconds, and an epoll's own descriptor
can be waited for, so the waiting is done there.
"""

from __future__ import annotations

import asyncio
import select
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


class PreciseSelector(selectors.EpollSelector):
    """Epoll, with timeouts to the microsecond."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is not None and timeout > 0:
            select.select([self], [], [], timeout)
            timeout = 0
        return super().select(timeout)


def run(main: Coroutine[Any, Any, Result]) -> Result:
    """As `asyncio.run`, on such a loop."""
    with asyncio.Runner(loop_factory=precise_loop) as runner:
        return runner.run(main)


def precise_loop() -> asyncio.AbstractEventLoop:
    return asyncio.SelectorEventLoop(PreciseSelector())
