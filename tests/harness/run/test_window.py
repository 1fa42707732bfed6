"""Steady windows of runs whose ramp and drain are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from llmbench.harness.metrics.base import Interval
from llmbench.harness.metrics.output_throughput import OutputThroughput
from llmbench.harness.result import Window
from llmbench.harness.run.record import RequestRecord, RequestStatus
from llmbench.harness.run.replies import replies_only
from llmbench.harness.run.validity import check_steady
from llmbench.harness.run.window import binned_tokens, piled_up, steady_window

from ..observed import make_request, serve_in_turn


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
    assert window.method == "the whole run, since every request was due at the start"


def test_where_nobody_was_served_the_load_is_not_blamed() -> None:
    """Requests that came one by one, of which each failed."""
    failed = [
        make_request((), index=at, due_s=float(at), status=RequestStatus.FAILED) for at in range(12)
    ]
    replies = replies_only(failed, {})

    assert replies.window.method == "the whole run, since no request was served"
    assert replies.duration_s == replies.window.end_s == 11.0


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


def test_a_load_beyond_capacity_is_not_steady_however_even_its_tokens_are() -> None:
    """Ten requests of fifty tokens come a second and 200 tokens are computed: in turn one of the
    oldest that is not done, and one of whoever has fewest. The tokens' rate is even from the start,
    but most replies end after the last arrival."""
    due_s = [i / 10 for i in range(100)]
    tokens: list[list[float]] = [[] for _ in due_s]
    for step in range(1, 5101):
        now_s = step / 200
        waiting = [i for i in range(100) if due_s[i] < now_s and len(tokens[i]) < 50]
        if waiting:
            fewest = min(waiting, key=lambda i: len(tokens[i]))
            tokens[waiting[0] if step % 2 else fewest].append(now_s)
    requests = [
        make_request(times_s, index=i, due_s=due_s[i], scheduled_s=times_s[0] - 1 / 200)
        for i, times_s in enumerate(tokens)
    ]
    window = steady_window(requests, requests[-1].t_end_s or 0.0)

    assert not window.steady
    assert "99 requests were due between warm-up and the last arrival, but only" in window.method
    # Of several replies a prompt, replies are counted.
    sampled = [replace(one, index=one.index // 4, sample=one.index % 4) for one in requests]
    said = steady_window(sampled, requests[-1].t_end_s or 0.0).method
    assert "99 replies were due between warm-up and the last arrival, but only" in said
    # Whoever has fewest goes first, so each has begun: no queue, however far beyond capacity.
    assert "ended: the batch was still filling, with" in window.method
    assert "queue" not in window.method
    whole = OutputThroughput().of(requests, Interval(window.start_s, window.end_s))
    assert whole == pytest.approx(200.0, rel=0.02)


def _twenty_a_second(service_s: float, slots: int) -> list[RequestRecord]:
    """Twenty requests a second for 20 s, first come first served by so many slots, each of which
    takes `service_s` for a reply of eighty tokens."""
    free_s = [0.0] * slots
    requests: list[RequestRecord] = []
    for i in range(400):
        slot = min(range(slots), key=free_s.__getitem__)
        begun_s = max(i / 20, free_s[slot])
        free_s[slot] = begun_s + service_s
        times_s = (begun_s + service_s * np.arange(1, 81) / 80).tolist()
        requests.append(make_request(times_s, index=i, due_s=i / 20, scheduled_s=begun_s))
    return requests


def test_a_tenth_of_what_is_due_may_be_left_over() -> None:
    """Of twenty a second 64 slots of 4 s serve 16, and 76 serve 19."""
    over, near = (_twenty_a_second(4.0, slots=slots) for slots in (64, 76))
    window = steady_window(over, over[-1].t_end_s or 0.0)
    assert not window.steady
    assert "330 requests were due between warm-up and the last arrival" in window.method
    assert "but only 256 ended" in window.method
    assert steady_window(near, near[-1].t_end_s or 0.0).steady


def test_more_that_end_than_are_due_are_no_steady_state() -> None:
    """A hundred are due at once and one a second after them; ten a second are served."""
    due_s = [0.0] * 100 + [float(at) for at in range(1, 11)]
    requests = [
        make_request((at / 10 + np.arange(0.005, 0.1, 0.01)).tolist(), index=at, due_s=due)
        for at, due in enumerate(due_s)
    ]
    window = steady_window(requests, 11.0)
    assert not window.steady
    assert window.method == (
        "the whole run, since 10 requests were due between warm-up and the last arrival, "
        "but 100 ended"
    )


def test_a_reply_that_failed_midway_did_not_end() -> None:
    requests = _twenty_a_second(1.0, slots=1000)
    broken = [
        replace(one, status=RequestStatus.FAILED) if one.index % 4 == 0 else one for one in requests
    ]
    assert steady_window(requests, 21.0).steady
    window = steady_window(broken, 21.0)
    assert not window.steady
    # Known wrong here: that the batch was still filling.
    assert window.method == (
        "the whole run, since 380 requests were due between warm-up and the last arrival, "
        "but only 285 ended and 95 were not served"
    )


def test_a_queue_is_still_named_where_few_were_not_served() -> None:
    requests = [
        replace(one, status=RequestStatus.FAILED) if one.index % 40 == 0 else one
        for one in _twenty_a_second(4.0, slots=40)
    ]
    said = steady_window(requests, requests[-1].t_end_s or 0.0).method
    assert " ended and 9 were not served, so a queue grew: " in said


def test_requests_that_are_being_served_are_no_queue() -> None:
    """By Little's law 20/s x 4 s = 80 are in flight, all of them served: known wrong here, "so a
    queue grew"."""
    assert piled_up(_twenty_a_second(4.0, slots=1000), Interval(0.0, 19.94)) == (
        ": the batch was still filling, with 80 in flight at the last arrival "
        "(raise --num-requests)"
    )


def test_a_queue_is_named_where_requests_wait_and_nothing_is_known_of_a_server() -> None:
    """Forty slots of 4 s serve ten a second, of twenty that come: of the 400, 200 have begun."""
    requests = _twenty_a_second(4.0, slots=40)
    end_s = requests[-1].t_end_s or 0.0
    unseen = [replace(request, t_scheduled_s=None) for request in requests]

    queued = steady_window(requests, end_s).method
    assert ", so a queue grew: 200 waiting at the last arrival" in queued
    told = steady_window(unseen, end_s).method
    assert told.endswith("ended: 240 in flight at the last arrival, in service or waiting")


def _arriving(due_s: Sequence[float]) -> list[RequestRecord]:
    """Replies of ten tokens, each within a second of its request."""
    return [
        make_request((due + np.arange(1, 11) / 10).tolist(), index=index, due_s=float(due))
        for index, due in enumerate(due_s)
    ]


def _stages() -> list[RequestRecord]:
    """Poisson, 4 requests a second for 70 s and then 8."""
    rng = np.random.default_rng(0)
    due_s = np.concatenate([rng.uniform(0, 70, 280), rng.uniform(70, 100, 240)])
    return _arriving(np.sort(due_s).tolist())


def test_a_load_that_doubles_is_not_steady_and_the_check_says_whose_doing_it_is() -> None:
    """Known wrong here: "steady window 0.00 to 99.96 s", for MSER-5 finds no cut worth its cost."""
    requests = _stages()
    window = steady_window(requests, 101.0)
    check = check_steady(window, requests, open_loop=True)

    assert not window.steady
    assert window.method.startswith("the whole run, since output went from 39.9 to 82.0")
    assert (check.ok, check.fatal) == (False, False)
    assert check.advice.startswith("the load itself changes, for what was asked for went from 4")
    # In a closed loop requests are due when others end: the load is the system's doing.
    assert not check_steady(window, requests).advice


def test_a_closed_loop_that_slows_down_is_not_steady() -> None:
    """As many requests end as are due whatever becomes of the engine: here it halves its speed at
    70 s, as one does that grows hot."""
    rng = np.random.default_rng(1)
    requests: list[RequestRecord] = []
    for _ in range(8):
        now_s = 0.0
        while now_s < 100:
            token_s = (0.05 if now_s < 70 else 0.1) * rng.uniform(0.8, 1.2)
            times_s = now_s + token_s * np.arange(1, int(rng.integers(10, 40)) + 1)
            requests.append(make_request(times_s.tolist(), index=len(requests), due_s=now_s))
            now_s = float(times_s[-1])
    window = steady_window(requests, 105.0)

    assert not window.steady
    assert "output went from 1" in window.method


def test_a_load_that_rises_little_by_little_is_not_steady() -> None:
    # The rate at t is 2 + 4 t / 100 requests a second.
    due_s = 50 * (np.sqrt(1 + np.arange(400) / 100) - 1)
    window = steady_window(_arriving(due_s.tolist()), float(due_s[-1]) + 1)

    assert not window.steady


def _stepped(factor: float) -> Window:
    """Of ten requests a second for 70 s, and then so many times as many."""
    due_s = np.concatenate([np.arange(0, 70, 0.1), np.arange(70, 100, 0.1 / factor)])
    return steady_window(_arriving(due_s.tolist()), 101.0)


@pytest.mark.parametrize("factor", [1.05, 1.07])
def test_a_change_of_a_few_percent_is_of_no_consequence(factor: float) -> None:
    """It is beyond doubt: without noise a thousandth would be."""
    assert _stepped(factor).steady


def test_a_change_of_a_fifth_is_told_with_its_time() -> None:
    """The last is due at 99.92 s, so a batch of five bins lasts 2.498 s: it is after 28 of them."""
    assert _stepped(1.2).method == (
        "the whole run, since output went from 100 to 120 tokens/s at 69.94 s"
    )


@pytest.mark.parametrize("seed", range(5))
def test_poisson_arrivals_of_one_rate_are_steady(seed: int) -> None:
    due_s = np.random.default_rng(seed).exponential(0.25, 400).cumsum()

    assert steady_window(_arriving(due_s.tolist()), float(due_s[-1]) + 1).steady


def test_no_requests_at_all() -> None:
    window = steady_window([], 0.0)

    assert (window.start_s, window.end_s, window.steady) == (0.0, 0.0, False)


def test_bins_hold_every_token_of_the_interval() -> None:
    requests = [make_request((0.5, 1.5, 1.6, 3.9, 9.0))]

    assert binned_tokens(requests, Interval(0.0, 4.0), 4) == [1, 2, 0, 1]
