"""A plan dealt out to processes."""

from __future__ import annotations

import asyncio
import multiprocessing
import threading
from array import array
from multiprocessing.connection import Connection
from typing import Any

import pytest
from llmbench.harness.client.load import Busyness
from llmbench.harness.client.processes import collected, split, stop_when_told
from llmbench.harness.client.send import Sent
from llmbench.harness.errors import InvalidRun
from llmbench.harness.run.drive import Progress
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


def pipes(count: int) -> tuple[list[Any], list[Any]]:
    """The parent's ends, and the children's."""
    ends = [multiprocessing.Pipe() for _ in range(count)]
    return [ours for ours, _ in ends], [theirs for _, theirs in ends]


def sent(*, interrupted: bool = False) -> Sent:
    return Sent((), 1.0, Busyness(array("d"), 0.0, 0.0, 1.0), 1, 0.0, interrupted)


def test_two_that_stop_at_once_are_both_kept() -> None:
    """A server that goes down stops all processes together: the second has sent what it measured
    and is gone when it is told to stop."""
    ours, (first, second) = pipes(2)
    second.send(sent(interrupted=True))
    second.close()
    first.send(sent(interrupted=True))
    first.close()
    found = collected(ours, lambda _: None, 100)
    assert len(found) == 2
    assert not any(one.failure for one in found)


def test_what_a_process_measured_survives_the_death_of_another() -> None:
    ours, (dead, alive) = pipes(2)
    dead.close()

    def answer() -> None:
        assert alive.recv() == "stop"
        alive.send(sent(interrupted=True))

    thread = threading.Thread(target=answer)
    thread.start()
    (found,) = collected(ours, lambda _: None, 100)
    thread.join()
    assert found.failure == "1 of 2 processes of the client died"


@pytest.mark.parametrize(("failed", "stops"), [((2, 2), True), ((3, 0), False)])
def test_failed_requests_count_together(failed: tuple[int, int], stops: bool) -> None:
    ours, theirs = pipes(2)

    def child(pipe: Any, failures: int) -> None:
        pipe.send(Progress(5, 9, 40, 0.1, failures))
        if stops:
            assert pipe.recv() == "stop"
        pipe.send(sent(interrupted=stops))

    threads = [
        threading.Thread(target=child, args=both) for both in zip(theirs, failed, strict=True)
    ]
    for thread in threads:
        thread.start()
    found = collected(ours, lambda _: None, 4)
    for thread in threads:
        thread.join()
    failure = "stopped after 4 failed requests" if stops else ""
    assert [one.failure for one in found] == [failure] * 2


def test_a_run_of_which_nothing_is_left_says_so() -> None:
    ours, (dead,) = pipes(1)
    dead.close()
    with pytest.raises(InvalidRun, match="every process"):
        collected(ours, lambda _: None, 100)


@pytest.mark.parametrize("gone", [False, True], ids=["told", "gone"])
def test_a_child_stops_once_when_it_is_told_to_or_its_parent_is_gone(gone: bool) -> None:
    parent, child = multiprocessing.Pipe()
    assert isinstance(child, Connection)
    stops: list[int] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        stopped = asyncio.Event()

        def stop() -> None:
            stops.append(1)
            stopped.set()

        stop_when_told(child, stop)
        if gone:
            parent.close()
        else:
            parent.send("stop")
        async with asyncio.timeout(10):
            await stopped.wait()
        for _ in range(3):  # turns of the loop, in which a reader that is left would be called
            again = loop.create_future()
            loop.call_soon(again.set_result, None)
            await again

    asyncio.run(main())
    assert stops == [1]
