"""Time as an engine sees it, so that one loop serves real and simulated runs."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Seconds since the clock was made; never goes back."""

    def now(self) -> float: ...

    def sleep_until(self, time_s: float) -> None:
        """Return at `time_s` or later; at once if that is past."""
        ...


class WallClock:
    """Real time, from the monotonic clock."""

    def __init__(self) -> None:
        self._origin_s = time.perf_counter()

    def now(self) -> float:
        return time.perf_counter() - self._origin_s

    def sleep_until(self, time_s: float) -> None:
        remaining_s = time_s - self.now()
        if remaining_s > 0:
            time.sleep(remaining_s)
