"""Who is alive: in a queue, or departed with its last token still to come."""

from __future__ import annotations

from llmbench.engines.admission.optimistic import OptimisticAdmission
from llmbench.engines.api import FinishReason, TokenEvent
from llmbench.engines.batching.separate import SeparateBatching
from llmbench.engines.kv.paged import PagedKVCache
from llmbench.engines.ledger import Ledger
from llmbench.engines.state import RequestState
from llmbench.engines.step import Limits
from llmbench.engines.strategy import Strategy

from .drive import make_request


def started(*prompts: int) -> tuple[Ledger, PagedKVCache, list[RequestState]]:
    """Requests a, b, … of a pool of eight blocks of four tokens, and the sequences that started."""
    kv = PagedKVCache(8, 4)
    ledger = Ledger(Strategy(SeparateBatching(), OptimisticAdmission(), kv, Limits(4, 32, 40)))
    for index, prompt in enumerate(prompts):
        ledger.add(make_request(chr(97 + index), prompt, 2))
    return ledger, kv, [chunk.request for chunk in ledger.plan(0.0).chunks]


def test_who_departs_makes_room_at_once_and_lives_until_its_last_token_is_told() -> None:
    ledger, kv, (a,) = started(6)
    assert kv.free_units == 6
    ledger.depart(a)
    assert (kv.free_units, ledger.queues.running) == (8, [])
    assert ledger.is_live(a)
    ledger.release([TokenEvent("a", 7, 1.0, FinishReason.LENGTH)])
    assert not ledger.is_live(a)
    assert ledger.is_empty


def test_a_refused_request_that_is_taken_back_first_is_not_refused_too() -> None:
    ledger, _, _ = started(6)
    ledger.add(make_request("z", 34, 2))  # nine blocks for its prompt, and there are eight
    refused = ledger.plan(1.0).refused
    assert [one.request.request_id for one in refused] == ["z"]
    ledger.abort("z")
    assert ledger.refuse(refused, 2.0) == []


def test_a_failed_step_ends_nobody_who_came_later_under_the_same_name() -> None:
    ledger, kv, (a, b) = started(6, 6)
    ledger.abort("a")
    ledger.add(make_request("a", 5, 2))
    events, failed = ledger.fail([a, b], RuntimeError("no"), 1.0)
    assert failed == ("b",)
    assert [(one.request_id, one.finish, one.detail) for one in events] == [
        ("b", FinishReason.ERROR, "RuntimeError: no")
    ]
    assert [one.request_id for one in ledger.queues.waiting] == ["a"]
    assert kv.free_units == 8
