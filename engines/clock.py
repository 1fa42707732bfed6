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
    """Real time, from the monotonic clock.

    origin_s: where it counts from, so that a clock in another process of the machine says the same;
    None for now.
    """

    def __init__(self, origin_s: float | None = None) -> None:
        self.origin_s = time.perf_counter() if origin_s is None else origin_s

    def now(self) -> float:
        return time.perf_counter() - self.origin_s

    def sleep_until(self, time_s: float) -> None:
        remaining_s = time_s - self.now()
        if remaining_s > 0:
            time.sleep(remaining_s)


class VirtualClock:
    """Time that passes only where somebody says so: a simulated executor, or a sleep."""

    def __init__(self) -> None:
        self._now_s = 0.0

    def now(self) -> float:
        return self._now_s

    def advance(self, duration_s: float) -> None:
        """duration_s: 0 or more; time never goes back."""
        if duration_s < 0:
            raise ValueError(f"a clock cannot go back by {-duration_s} s")
        self._now_s += duration_s

    def sleep_until(self, time_s: float) -> None:
        self._now_s = max(self._now_s, time_s)
