"""Lives of requests and of sessions, from their table."""

from __future__ import annotations

import math

from llmbench.harness.run.record import RequestStatus
from llmbench.harness.tables.lives import lives
from llmbench.harness.tables.requests import requests_frame
from llmbench.workloads.api import Plan, PlannedRequest

from ..observed import make_request


def test_a_request_lives_until_its_reply_ends_and_one_that_has_none_for_ever() -> None:
    served = make_request((1.5, 2.0), index=0, due_s=1.0)
    failed = make_request(index=1, due_s=3.0, status=RequestStatus.FAILED)
    came_s, end_s = lives(requests_frame([served, failed]))
    assert came_s.tolist() == [1.0, 3.0]
    assert end_s.tolist() == [2.0, math.inf]


def test_a_session_lives_from_its_beginning_to_the_end_of_its_last_turn() -> None:
    """Requests 0, 2 and 3 are one's turns, 1 is another's only one."""
    turns = {2: 0, 3: 2}
    due_s = (1.0, 2.0, 5.0, 9.0)
    plan = Plan(
        tuple(
            PlannedRequest(at, None if at in turns else due_s[at], (at,), 1, after=turns.get(at))
            for at in range(4)
        ),
        None,
    )
    records = [make_request((due + 0.5,), index=at, due_s=due) for at, due in enumerate(due_s)]
    came_s, end_s = lives(requests_frame(records, plan))
    assert came_s.tolist() == [1.0, 2.0]
    assert end_s.tolist() == [9.5, 2.5]
