"""Who is due when: open loop, closed loop, and the turns of a session."""

from __future__ import annotations

from llmbench.harness.run.arrivals import Arrivals
from llmbench.workloads.api import Plan, PlannedRequest


def request(
    index: int, due_s: float | None, after: int | None = None, think_s: float = 0.0
) -> PlannedRequest:
    return PlannedRequest(index, due_s, (1, 2), 3, after=after, think_s=think_s)


def due(arrivals: Arrivals, now_s: float) -> list[tuple[int, float]]:
    return [(planned.index, t_due_s) for planned, t_due_s in arrivals.due(now_s)]


def test_a_later_turn_is_due_when_its_user_has_read_and_thought() -> None:
    first, turn, other = request(0, 0.0), request(1, None, 0, 2.0), request(2, 1.0)
    arrivals = Arrivals(Plan((first, turn, other), None))
    assert due(arrivals, 0.5) == [(0, 0.0)]
    assert arrivals.next_due_s() == 1.0
    assert due(arrivals, 9.0) == [(2, 1.0)]
    assert arrivals.next_due_s() is None
    assert arrivals  # the turn is still to come
    arrivals.ended(first, 3.0)
    assert arrivals.next_due_s() == 5.0
    assert due(arrivals, 4.9) == []
    assert due(arrivals, 5.5) == [(1, 5.0)]
    assert not arrivals


def test_a_turn_held_back_by_the_cap_stays_late_from_its_due_time() -> None:
    first, turn, other = request(0, 0.0), request(1, None, 0, 1.0), request(2, 0.5)
    arrivals = Arrivals(Plan((first, turn, other), 1))
    assert due(arrivals, 0.0) == [(0, 0.0)]
    arrivals.ended(first, 2.0)
    # The slot goes to who was due first.
    assert due(arrivals, 3.5) == [(2, 0.5)]
    arrivals.ended(other, 6.0)
    assert due(arrivals, 6.0) == [(1, 3.0)]


def test_in_a_closed_loop_a_turn_that_is_due_goes_before_a_new_request() -> None:
    requests = (request(0, None), request(1, None), request(2, None, 0), request(3, None))
    arrivals = Arrivals(Plan(requests, 2))
    assert due(arrivals, 0.0) == [(0, 0.0), (1, 0.0)]
    arrivals.ended(requests[0], 1.0)
    assert due(arrivals, 1.0) == [(2, 1.0)]
    arrivals.ended(requests[1], 2.0)
    assert due(arrivals, 2.0) == [(3, 2.0)]
