"""A plan dealt out to processes."""

from __future__ import annotations

from llmbench.harness.client.processes import split
from llmbench.workloads.api import Plan, PlannedRequest

from .sending import plan_of


def test_every_request_goes_to_one_process() -> None:
    shares = split(plan_of(10, due_s=0.1), 3)
    assert sorted(one.index for share in shares for one in share.requests) == list(range(10))
    assert [len(share.requests) for share in shares] == [4, 3, 3]
    for share in shares:
        dues = [one.t_due_s for one in share.requests if one.t_due_s is not None]
        assert dues == sorted(dues)


def test_slots_are_shared_and_none_is_lost() -> None:
    shares = split(plan_of(10, concurrency=5), 3)
    assert sorted(share.max_concurrency or 0 for share in shares) == [1, 2, 2]
    assert len(split(plan_of(10, concurrency=2), 8)) == 2
    assert len(split(plan_of(1), 8)) == 1


def test_a_sessions_turns_stay_together() -> None:
    turns = [
        PlannedRequest(index, 0.0 if index < 3 else None, (1,), 1, after=after)
        for index, after in enumerate([None, None, None, 0, 1, 3])
    ]
    shares = split(Plan(tuple(turns), None), 2)
    for share in shares:
        inside = {one.index for one in share.requests}
        assert all(one.after is None or one.after in inside for one in share.requests)
    assert {one.index for one in shares[0].requests} == {0, 2, 3, 5}
