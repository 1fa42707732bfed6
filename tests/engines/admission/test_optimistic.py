"""Worked examples of the block manager's rule: free - needed >= int(0.01 x total)."""

from __future__ import annotations

import pytest
from llmbench.engines.admission.optimistic import OptimisticAdmission
from llmbench.engines.kv.contiguous import ContiguousKVCache
from llmbench.engines.kv.paged import PagedKVCache
from llmbench.engines.state import RequestState
from llmbench.engines.step import Verdict

from ..drive import make_request


def verdict(total: int, held: int, needed: int) -> Verdict:
    kv = PagedKVCache(num_blocks=total, block_size=1)
    if held:
        kv.extend(RequestState(make_request("held", held, 1)), held)
    return OptimisticAdmission().admit(RequestState(make_request("new", needed, 1)), needed, [], kv)


@pytest.mark.parametrize(
    ("total", "held", "needed", "expected"),
    [
        (99, 0, 99, Verdict.NOW),  # no watermark below 100 blocks
        (99, 1, 99, Verdict.LATER),
        (99, 0, 100, Verdict.NEVER),
        (200, 0, 198, Verdict.NOW),  # watermark 2
        (200, 0, 199, Verdict.NEVER),
        (200, 1, 198, Verdict.LATER),
        (200, 100, 98, Verdict.NOW),
        (200, 100, 99, Verdict.LATER),
    ],
)
def test_watermark(total: int, held: int, needed: int, expected: Verdict) -> None:
    assert verdict(total, held, needed) is expected


def test_a_contiguous_cache_needs_no_watermark() -> None:
    kv = ContiguousKVCache(slots=1000, max_model_len=1000)
    request = RequestState(make_request("a", 5, 5))
    assert OptimisticAdmission().admit(request, 5, [], kv) is Verdict.NOW
