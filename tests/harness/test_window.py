"""Steady windows of runs whose ramp and drain are known."""

from __future__ import annotations

import numpy as np
import pytest
from llmbench.harness.metrics.base import Interval
from llmbench.harness.metrics.output_throughput import OutputThroughput
from llmbench.harness.record import RequestRecord
from llmbench.harness.window import binned_tokens, steady_window

from .observed import make_request, serve_in_turn


def _ramped_loop() -> tuple[list[RequestRecord], float]:
    """Ten slots that start a second apart and hold 1 s requests of ten tokens each; the last
    arrival is at 59 s and everything has ended at 60 s."""
    requests: list[RequestRecord] = []
    for slot in range(10):
        for begin in range(slot, 60):
            times_s = (begin + np.arange(1, 11) / 10).tolist()
            requests.append(make_request(times_s, index=len(requests), due_s=float(begin)))
    return requests, 60.0


def test_the_ramp_is_cut_and_the_drain_left_out() -> None:
    requests, duration_s = _ramped_loop()
    window = steady_window(requests, duration_s)

    assert window.steady
    assert 7.0 <= window.start_s <= 13.0
    assert window.end_s == 59.0
    assert "MSER-5" in window.method


def test_throughput_in_the_window_is_the_plateau() -> None:
    """100 tokens/s once all ten slots run; the ramp hides a thirteenth of it."""
    requests, duration_s = _ramped_loop()
    window = steady_window(requests, duration_s)
    throughput = OutputThroughput()

    steady = throughput.of(requests, Interval(window.start_s, window.end_s))
    whole = throughput.of(requests, Interval(0.0, duration_s))

    assert steady == pytest.approx(100.0, rel=0.02)
    assert whole == pytest.approx((600 - 45) * 10 / 60)


def test_everything_due_at_once_has_no_steady_state() -> None:
    window = steady_window([make_request((1.0, 2.0)) for _ in range(20)], 2.0)

    assert not window.steady
    assert (window.start_s, window.end_s) == (0.0, 2.0)
    assert window.method == "the whole run: every request was due at the start"


def test_a_short_run_says_so() -> None:
    requests, steps = serve_in_turn(8)
    window = steady_window(requests, steps[-1].end_s)

    assert not window.steady
    assert window.end_s == steps[-1].end_s
    assert "fewer than 10 requests ended" in window.method


def test_a_load_that_only_grows_is_not_steady() -> None:
    requests = [
        make_request((i + np.linspace(0.1, 1.0, 1 + i)).tolist(), index=i, due_s=float(i))
        for i in range(100)
    ]
    window = steady_window(requests, 100.0)

    assert not window.steady
    assert "no steady state" in window.method


def test_no_requests_at_all() -> None:
    window = steady_window([], 0.0)

    assert (window.start_s, window.end_s, window.steady) == (0.0, 0.0, False)


def test_bins_hold_every_token_of_the_interval() -> None:
    requests = [make_request((0.5, 1.5, 1.6, 3.9, 9.0))]

    assert binned_tokens(requests, Interval(0.0, 4.0), 4) == [1, 2, 0, 1]
