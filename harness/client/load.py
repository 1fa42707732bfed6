"""How busy the client itself was: its event loop's lag, and its share of a core."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from time import monotonic, process_time

import numpy as np
from numpy.typing import NDArray

from ..stats.percentiles import percentile

PERIOD_S = 0.01


@dataclass(frozen=True)
class Busyness:
    """What one process of the client saw of itself.

    lags_s: how late each heartbeat was that came, one every 10 ms. in_flight_s: requests on their
    way, as counted at each, beside the records, times the seconds since the one before. cpu_s:
    processor time of all its threads.
    """

    lags_s: Sequence[float]
    in_flight_s: float
    cpu_s: float
    wall_s: float

    @property
    def cpu_share(self) -> float:
        """Of one core."""
        return self.cpu_s / self.wall_s if self.wall_s > 0 else 0.0

    def lag_s(self, q: float) -> float:
        """A percentile over time, not over the beats that came: a stall is one late beat."""
        return percentile(self._all_lags_s, q) if len(self.lags_s) else 0.0

    @cached_property
    def _all_lags_s(self) -> NDArray[np.float64]:
        """With those that a stall swallowed, each as late as it would have been: HdrHistogram's
        correction for coordinated omission (`recordValueWithExpectedInterval`)."""
        lags_s = np.asarray(self.lags_s)
        stalls_s = lags_s[lags_s > PERIOD_S]
        swallowed = [np.arange(lag_s - PERIOD_S, 0, -PERIOD_S) for lag_s in stalls_s]
        return np.concatenate([lags_s, *swallowed])


@dataclass
class Heartbeat:
    """Wakes every 10 ms, notes how late it was, and does what is to be done now and then.

    on_beat: does it, and says how many requests are on their way.
    """

    loop: asyncio.AbstractEventLoop
    on_beat: Callable[[], int]
    lags_s: array[float] = field(default_factory=lambda: array("d"))
    in_flight_s: float = 0.0
    _beat_s: float = 0.0
    _due_s: float = 0.0
    _timer: asyncio.TimerHandle | None = None
    _began: tuple[float, float] = (0.0, 0.0)

    def start(self) -> None:
        self._began = (monotonic(), process_time())
        self._due_s = self._beat_s = monotonic()
        self._beat()

    def stop(self) -> Busyness:
        if self._timer is not None:
            self._timer.cancel()
        wall_s, cpu_s = self._began
        return Busyness(self.lags_s, self.in_flight_s, process_time() - cpu_s, monotonic() - wall_s)

    def _beat(self) -> None:
        now_s = monotonic()
        self.lags_s.append(max(0.0, now_s - self._due_s))
        self.in_flight_s += self.on_beat() * (now_s - self._beat_s)
        self._beat_s = now_s
        # Counted from now: a stall is one late beat here, and `Busyness` adds those it swallowed.
        self._due_s = max(self._due_s + PERIOD_S, now_s)
        self._timer = self.loop.call_at(self._due_s, self._beat)
