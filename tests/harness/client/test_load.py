"""What the client sees of its own event loop."""

from __future__ import annotations

import asyncio
import time
from array import array

import numpy as np
import pytest
from llmbench.harness.client.load import PERIOD_S, Busyness, Heartbeat
from llmbench.harness.client.load_summary import FEWEST_BEATS, in_flight_s


def test_a_stall_counts_for_as_long_as_it_lasts() -> None:
    """60 s with five stalls of 0.5 s: 4 % of the time, and five beats of 5 755, p99 0.2 ms."""
    lags_s = [2e-4] * 5750 + [0.5] * 5
    assert np.percentile(lags_s, 99) == pytest.approx(2e-4)
    busy = Busyness(array("d", lags_s), 0.0, 0.0, 60.0)
    assert busy.lag_s(99) == pytest.approx(0.38, abs=0.005)
    assert busy.lag_s(50) == pytest.approx(2e-4)
    assert busy.lag_s(100) == 0.5


def test_a_beat_that_swallowed_none_counts_once() -> None:
    lags_s = [0.0, PERIOD_S / 2, PERIOD_S]
    assert Busyness(array("d", lags_s), 0.0, 0.0, 1.0).lag_s(50) == PERIOD_S / 2
    assert Busyness(array("d"), 0.0, 0.0, 1.0).lag_s(99) == 0.0


def test_swallowed_beats_have_counted_no_requests() -> None:
    """Whoever has seen one beat has not seen how many were on their way in the second it took."""
    busy = Busyness(array("d", [1.5] * (FEWEST_BEATS - 1)), 1.0, 0.0, 1.0)
    assert in_flight_s([busy]) is None


def test_a_loop_that_stalls_is_seen_by_its_heart() -> None:
    async def main() -> Busyness:
        heart = Heartbeat(asyncio.get_running_loop(), lambda: 0)
        heart.start()
        await asyncio.sleep(5 * PERIOD_S)
        time.sleep(0.5)
        await asyncio.sleep(5 * PERIOD_S)
        return heart.stop()

    # Of 0.6 s of a loop that is held for 0.5, more than half at any speed of the machine.
    assert asyncio.run(main()).lag_s(50) > 0.1
