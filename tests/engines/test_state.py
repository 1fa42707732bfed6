"""The queues: where a sequence stands, and how many seats are taken."""

from __future__ import annotations

from operator import attrgetter

import pytest
from llmbench.engines.state import Queues, RequestState, last_group, split_running

from .drive import make_request


def state(name: str, *, priority: int = 0, n: int = 1) -> RequestState:
    return RequestState(make_request(name, 4, 4, priority=priority, n=n))


def ids(line) -> list[str]:
    return [request.request_id for request in line]


def queues_of(*requests: RequestState) -> Queues:
    queues = Queues()
    for request in requests:
        queues.add(request)
    return queues


def run_all(queues: Queues) -> None:
    while queues.waiting:
        queues.start(queues.waiting[0])


def test_equals_wait_in_the_order_they_came_and_lower_numbers_go_first() -> None:
    queues = queues_of(
        state("a", priority=1),
        state("b"),
        state("c", priority=1),
        state("d", priority=-2),
        state("e"),
    )
    assert ids(queues.waiting) == ["d", "b", "e", "a", "c"]


def test_only_who_waits_may_start_and_those_in_front_go_on_waiting() -> None:
    first, second = state("a"), state("b")
    queues = queues_of(first, second)
    queues.start(second)
    assert (ids(queues.waiting), ids(queues.running)) == (["a"], ["b"])
    with pytest.raises(ValueError, match="not in deque"):
        queues.start(second)


def test_the_running_stand_in_the_same_order_whenever_they_started() -> None:
    low, high = state("low", priority=1), state("high")
    queues = queues_of(low)
    run_all(queues)
    queues.add(high)
    run_all(queues)
    assert ids(queues.running) == ["high", "low"]


def test_the_preempted_go_in_front_of_all_that_came_later_the_oldest_first() -> None:
    a, b, c = state("a"), state("b"), state("c")
    queues = queues_of(a, b, c)
    run_all(queues)
    queues.add(state("d"))
    queues.add(state("vip", priority=-1))
    queues.preempt(c)
    queues.preempt(b)
    assert ids(queues.waiting) == ["vip", "b", "c", "d"]
    assert ids(queues.running) == ["a"]


def test_a_preempted_one_goes_behind_an_older_one_that_was_passed_over() -> None:
    a, b = state("a"), state("b")
    queues = queues_of(a, b)
    queues.waiting.popleft()  # as a policy passes over a
    queues.start(b)
    queues.waiting.appendleft(a)
    queues.preempt(b)
    assert ids(queues.waiting) == ["a", "b"]


def test_recompute_makes_a_context_of_all_that_is_known() -> None:
    request = state("a")
    queues = queues_of(request)
    run_all(queues)
    assert not request.is_decoding
    request.computed_tokens = 4
    request.append(7)
    assert request.is_decoding
    queues.preempt(request)
    assert (request.computed_tokens, request.context_tokens) == (0, 5)
    request.computed_tokens = 4  # as after a prefix hit of one block: one token of context is left
    assert not request.is_decoding
    assert request.uncomputed_tokens == 1


def test_seats_are_kept_for_samples_that_are_not_born_yet() -> None:
    group, single = state("g", n=3), state("s")
    queues = queues_of(group, single)
    assert queues.seats == 0
    queues.start(group)
    assert (queues.seats, queues.unforked) == (3, 2)
    queues.start(single)
    assert queues.seats == 4
    children = [group.fork(choice) for choice in (1, 2)]
    queues.fork(group, children)
    group.samples = 1
    assert ids(queues.running) == ["g", "g#1", "g#2", "s"]
    assert (queues.seats, queues.unforked) == (4, 0)


def test_seats_of_the_unborn_are_given_back_with_their_request() -> None:
    for leave in (Queues.preempt, Queues.remove):
        group = state("g", n=3)
        queues = queues_of(group)
        run_all(queues)
        leave(queues, group)
        assert (queues.seats, queues.unforked) == (0, 0)


def forked(queues: Queues, group: RequestState) -> list[RequestState]:
    group.computed_tokens = 4
    children = [group.fork(choice) for choice in range(1, group.samples)]
    queues.fork(group, children)
    group.samples = 1
    return [group, *children]


def test_samples_keep_their_order_through_preemption_and_swapping() -> None:
    a, g, z = state("a"), state("g", n=3), state("z")
    queues = queues_of(a, g, z)
    run_all(queues)
    group = forked(queues, g)
    for sample in reversed(group):
        queues.preempt(sample)
    assert ids(queues.waiting) == ["g", "g#1", "g#2"]
    run_all(queues)
    assert ids(queues.running) == ["a", "g", "g#1", "g#2", "z"]
    for sample in reversed(group):
        queues.swap_out(sample)
    assert ids(queues.swapped) == ["g", "g#1", "g#2"]
    assert ids(queues.running) == ["a", "z"]
    for sample in group:
        queues.swap_in(sample)
    assert ids(queues.running) == ["a", "g", "g#1", "g#2", "z"]


def test_the_swapped_come_back_in_order_of_coming_not_of_leaving() -> None:
    a, b, c = state("a"), state("b"), state("c")
    queues = queues_of(a, b, c)
    run_all(queues)
    queues.swap_out(c)
    queues.swap_out(b)
    assert ids(queues.swapped) == ["b", "c"]


def test_the_last_group_is_all_samples_of_who_stands_last() -> None:
    a, g = state("a"), state("g", n=2)
    queues = queues_of(a, g)
    run_all(queues)
    forked(queues, g)
    assert ids(last_group(queues.running, attrgetter("request"))) == ["g", "g#1"]
    assert ids(last_group([a], attrgetter("request"))) == ["a"]


def test_a_line_is_split_by_whose_context_is_done() -> None:
    a, b = state("a"), state("b")
    a.computed_tokens = 4
    assert [ids(part) for part in split_running([b, a])] == [["a"], ["b"]]


def test_who_stands_nowhere_cannot_be_removed() -> None:
    with pytest.raises(ValueError, match="not in deque"):
        Queues().remove(state("a"))
