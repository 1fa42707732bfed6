from __future__ import annotations

from llmbench.engines.admission.reserve import ReserveAdmission
from llmbench.engines.kv.paged import PagedKVCache
from llmbench.engines.state import RequestState

from ..drive import make_request


def test_what_running_requests_may_still_take_is_not_given_away() -> None:
    kv = PagedKVCache(num_blocks=10, block_size=4)
    running = RequestState(make_request("a", 4, 16))  # 5 blocks at most, 1 held
    kv.extend(running, 4)
    admission = ReserveAdmission()
    fits = RequestState(make_request("b", 4, 16))  # 5 more: 10 in all
    too_long = RequestState(make_request("c", 4, 17))  # 6 more: 11 in all
    assert admission.admit(fits, 4, [running], kv)
    assert not admission.admit(too_long, 4, [running], kv)
    assert admission.admit(too_long, 4, [], kv)


def test_a_request_the_whole_pool_cannot_complete_never_starts() -> None:
    kv = PagedKVCache(num_blocks=4, block_size=4)
    request = RequestState(make_request("a", 4, 13))
    assert not ReserveAdmission().can_ever_hold(request, kv)


def test_it_says_why_with_the_numbers() -> None:
    kv = PagedKVCache(num_blocks=4, block_size=4)
    why = ReserveAdmission().why_never(RequestState(make_request("a", 4, 13)), kv)
    assert "its 17 tokens: they need 5 blocks, the pool has 4" in why


def test_every_sample_is_reserved_to_its_end() -> None:
    # Prompt 6, output 6: three blocks a sample, of which the prompt's full one is shared:
    # 1 + 3 x (3 - 1) = 7.
    kv = PagedKVCache(num_blocks=8, block_size=4)
    group = RequestState(make_request("g", 6, 6, n=3))
    assert kv.units_of(group, group.full_tokens) == 7
    assert ReserveAdmission().admit(group, 6, [], kv)
    kv.extend(group, 6)
    # Two are held, five promised, one is left.
    assert kv.promised_units([group]) == 5
    one, two = RequestState(make_request("a", 2, 2)), RequestState(make_request("b", 2, 3))
    assert ReserveAdmission().admit(one, 2, [group], kv)
    assert not ReserveAdmission().admit(two, 2, [group], kv)


def test_a_prefix_that_others_hold_is_not_reserved_again() -> None:
    kv = PagedKVCache(num_blocks=5, block_size=4, prefix_cache=True)
    first = RequestState(make_request("a", 9, 3, shared=8))
    kv.extend(first, 9)
    first.computed_tokens = 9
    kv.publish(first, 9)
    # Three blocks each, two of them shared: four in all. Without the shared ones, six.
    twin = RequestState(make_request("b", 9, 3, shared=8))
    stranger = RequestState(make_request("c", 9, 3))
    assert ReserveAdmission().admit(twin, 9, [first], kv)
    assert not ReserveAdmission().admit(stranger, 9, [first], kv)
