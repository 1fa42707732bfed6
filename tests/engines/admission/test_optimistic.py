"""Worked examples of the block manager's rule: free - needed >= int(0.01 x total)."""

from __future__ import annotations

import pytest
from llmbench.engines.admission.optimistic import OptimisticAdmission
from llmbench.engines.kv.contiguous import ContiguousKVCache
from llmbench.engines.kv.paged import PagedKVCache
from llmbench.engines.state import RequestState
from llmbench.engines.step import Verdict

from ..drive import make_request


@pytest.mark.parametrize(
    ("total", "held", "needed", "expected"),
    [
        (99, 0, 99, "now"),  # no watermark below 100 blocks
        (99, 1, 99, "later"),
        (99, 0, 100, "never"),
        (200, 0, 198, "now"),  # watermark 2
        (200, 0, 199, "never"),
        (200, 1, 198, "later"),
        (200, 100, 98, "now"),
        (200, 100, 99, "later"),
    ],
)
def test_watermark(total: int, held: int, needed: int, expected: str) -> None:
    kv, new = PagedKVCache(num_blocks=total, block_size=1), state("new", needed, 1)
    if held:
        kv.extend(state("held", held, 1), held)
    admission = OptimisticAdmission()
    assert admission.can_ever_hold(new, kv) is (expected != "never")
    assert admission.admit(new, needed, [], kv) is (expected == "now")


def test_a_contiguous_cache_needs_no_watermark() -> None:
    kv = ContiguousKVCache(slots=1000, max_model_len=1000)
    request = RequestState(make_request("a", 5, 5))
    assert OptimisticAdmission().admit(request, 5, [], kv)


def state(name: str, prompt: int, output: int = 8, n: int = 1) -> RequestState:
    return RequestState(make_request(name, prompt, output, n=n))


def test_only_what_is_wanted_now_must_be_free() -> None:
    kv = PagedKVCache(num_blocks=4, block_size=4)
    kv.extend(state("held", 8), 8)
    new = state("new", 12)
    # Three blocks for the whole prompt, two for its first chunk of eight tokens.
    assert not OptimisticAdmission().admit(new, 12, [], kv)
    assert OptimisticAdmission().admit(new, 8, [], kv)


def test_no_watermark_where_it_is_switched_off() -> None:
    kv = PagedKVCache(num_blocks=200, block_size=1)
    new = state("new", 200)
    assert OptimisticAdmission(watermark=0.0).admit(new, 200, [], kv)
    assert not OptimisticAdmission(watermark=0.01).can_ever_hold(new, kv)


def test_a_cached_block_that_nobody_holds_counts_as_needed() -> None:
    kv = PagedKVCache(num_blocks=4, block_size=4, prefix_cache=True)
    first = RequestState(make_request("a", 8, 4, shared=8))
    kv.extend(first, 8)
    kv.publish(first, 8)
    twin = RequestState(make_request("b", 8, 4, shared=8))
    # Held by `a`, its first block comes for nothing; the second must be computed again.
    assert kv.needs(twin, 8) == 1
    kv.release(first)
    assert kv.cached_tokens(twin) == 4
    assert kv.needs(twin, 8) == 2


def swapped(total: int, prompt: int, n: int) -> tuple[PagedKVCache, list[RequestState]]:
    """The samples of one request on the host, in a cache that is empty otherwise."""
    kv = PagedKVCache(num_blocks=total, block_size=4, host_blocks=8)
    parent = state("s", prompt, n=n)
    kv.extend(parent, prompt)
    parent.computed_tokens = prompt
    group = [parent, *(parent.fork(choice) for choice in range(1, n))]
    parent.samples = 1
    for child in group[1:]:
        kv.fork(parent, child)
    for sample in group:
        sample.append(0)
    assert kv.swap_out(group)
    return kv, group


@pytest.mark.parametrize(
    ("total", "held", "expected"),
    [
        (4, 0, Verdict.NOW),  # two blocks that the samples share, and one to write on for each
        (5, 1, Verdict.NOW),
        (4, 1, Verdict.LATER),
        (3, 0, Verdict.NEVER),
    ],
)
def test_who_comes_back_needs_a_block_to_write_on(total: int, held: int, expected: Verdict) -> None:
    kv, group = swapped(total, 6, 2)
    if held:
        kv.extend(state("held", 4 * held), 4 * held)
    assert OptimisticAdmission().readmit(group, kv) is expected
